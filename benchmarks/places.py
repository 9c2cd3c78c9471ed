"""The places that the shipped weights learned from and were tested on: ``python -m benchmarks.places [PICTURE]``.

Positions are centres of the sets, degrees. The 20 flux towers are left out, since their files hold no position.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

PICTURE = Path("docs/pictures/places.png")
LEARNED, TESTED = "learned from (a quarter held)", "tested on only"
PLACES = (  # name, longitude, latitude, role, offset of the label in points
    ("points_france_2023", 0.0, 46.9, LEARNED, (-8, 8)),
    ("points_flanders_2021", 4.3, 51.0, LEARNED, (8, 2)),
    ("no_red_flanders", 3.4, 51.2, LEARNED, (-8, 10)),
    ("fields_bavaria_2018", 11.6, 48.4, LEARNED, (-4, -12)),
    ("grassland_slovakia", 18.7, 48.9, LEARNED, (-40, 8)),
    ("fields_central_asia_2016", 67.3, 39.8, LEARNED, (-40, 8)),
    ("patches_vietnam_2022", 105.4, 10.3, LEARNED, (-112, 8)),
    ("no_red_tanzania", 36.9, -3.7, LEARNED, (8, -2)),
    ("belgium_2019", 4.1, 50.7, TESTED, (-66, -4)),
    ("meadow", 15.2, 45.8, TESTED, (8, -6)),
    ("field in Spain", -4.9, 41.8, TESTED, (-8, -12)),
)


def draw() -> plt.Figure:
    """All places on degrees, and Europe larger, since most lie there."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(1.15, 1))
    world, europe = axes
    for axis in axes:
        for role, colour, marker in ((LEARNED, "#1b7837", "o"), (TESTED, "#d6604d", "^")):
            points = [(lon, lat) for _, lon, lat, its, _ in PLACES if its == role]
            axis.plot(*zip(*points, strict=True), marker, color=colour, label=role, ms=7)
        axis.grid(alpha=0.4)
        axis.set_xlabel("longitude, degrees")
    inside = {name for name, lon, lat, *_ in PLACES if lon < 25 and lat > 35}
    for name, lon, lat, _, offset in PLACES:
        axis = europe if name in inside else world
        axis.annotate(name, (lon, lat), xytext=offset, textcoords="offset points", fontsize=8)
    world.set(xlim=(-20, 125), ylim=(-20, 65), ylabel="latitude, degrees")
    europe.set(xlim=(-10, 26), ylim=(40, 54), title="Europe")
    europe.set_aspect(1.5)
    world.indicate_inset([-10, 40, 36, 14], edgecolor="0.4")
    world.legend(loc="lower left", fontsize=8)
    return figure


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, metavar="PICTURE")
    picture = parser.parse_args().picture
    picture.parent.mkdir(exist_ok=True, parents=True)
    draw().savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
