"""What was published for videoalignment's methods, to stand beside our own numbers; all in percent.

Sources: the tables in the README of facebookresearch/videoalignment (2019), which follow Tables 2, 3 and 4 of
Baraldi et al. 2018 (LAMV, CVPR) with frames by RMAC on ResNet-34; for the events of EVVE the outputs it links to
(gist.github.com/LowikC: ff24ba09, 23e62afe, b425bd5e), whose last lines could not be had. What is not known is
not in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["PUBLISHED"]

_POULLOT, _TMK, _EXPANDED = ("tmk-poullot", "freq", ""), ("tmk", "feat_freq", ""), ("tmk", "feat_freq", "aqe")

PUBLISHED: Mapping[tuple[str, str, str, str], Mapping[str, float]] = MappingProxyType(
    {
        ("madonna", *_POULLOT): {"< 0.1 s": 9.13, "< 1 s": 36.52, "< 10 s": 64.78},
        ("madonna", *_TMK): {"< 0.1 s": 33.91, "< 1 s": 70.00, "< 10 s": 76.96},
        ("climbing", *_POULLOT): {"< 0.1 s": 0.00, "< 1 s": 3.37, "< 10 s": 22.47},
        ("climbing", *_TMK): {"< 0.1 s": 14.61, "< 1 s": 28.09, "< 10 s": 34.83},
        ("vcdb", *_POULLOT): {"F1": 66.02},
        ("vcdb", *_TMK): {"F1": 67.30},
        ("evve", *_POULLOT): {
            "all queries": 51.53,
            "johnny+stade+de+france+2012": 36.3166,
            "obama+speech+victory": 66.0050,
            "shakira+live+kiev+2011": 43.8386,
            "mdna+rome+2012": 28.6071,
            "egypt+Tahrir+Square+protestors": 14.4582,
            "die+toten+hosen+rock+am+ring+2012": 22.6506,
            "strokkur+geyser": 86.0950,
        },
        ("evve", *_TMK): {
            "all queries": 53.43,
            "marrakech+bomb+attack": 20.1294,
            "die+toten+hosen+rock+am+ring+2012": 24.8537,
            "johnny+stade+de+france+2012": 38.4582,
            "dsk+arrested": 15.0045,
            "kate+william+wedding": 38.0386,
            "egypt+Tahrir+Square+protestors": 13.8603,
            "shakira+live+kiev+2011": 45.3943,
            "universal+studios+jurassic+park+ride": 69.3257,
            "obama+speech+victory": 72.0860,
            "mdna+rome+2012": 27.4397,
            "barcelona+riots+2012": 20.8379,
        },
        ("evve", *_EXPANDED): {
            "all queries": 58.36,
            "dsk+arrested": 11.4662,
            "shakira+live+kiev+2011": 59.3086,
            "marrakech+bomb+attack": 21.5630,
            "obama+speech+victory": 83.6140,
            "kate+william+wedding": 49.9158,
            "barcelona+riots+2012": 21.3582,
            "thailand+flood+2011": 27.7534,
            "johnny+stade+de+france+2012": 44.9601,
        },
    }
)
"""By dataset, method, normalisation and query expansion, with 16 harmonics and the method's own periods."""
