"""The results in the repository are those of the shipped weights, and the documents hold their numbers."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.leaderboard.__main__ import with_models
from benchmarks.leaderboard.page import page_of
from fusion.evaluation.predictor import ModelPredictor
from fusion.inference.locate import locate_model
from fusion.inference.manifest import SIZE_LIMITS, read_manifest

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results"
GAPS = (5, 10, 20, 30)
OF_THE_SHIPPED_WEIGHTS = (
    "belgium_2019", "sentinel2_only", "simulated_holdout", "simulated_seasons", "adversarial_gate", "leaderboard",
    "leaderboard_subset", "coverage",
)  # fmt: skip
LARGEST_MODEL = 2 * 2**20  # bytes, a limit of the project
CARD_SETS = {
    "grassland, Slovakia": "grassland_slovakia", "pixels, France": "points_france_2023",
    "rice and others, Mekong": "patches_vietnam_2022", "fields, Bavaria": "fields_bavaria_2018",
    "fields, Central Asia": "fields_central_asia_2016",
}  # fmt: skip


def measured(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def cells(text: str, label: str) -> list[list[float]]:
    """Numbers in the cells of the one row of a table that begins with the label."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    return [[float(n) for n in re.findall(r"\d*\.\d+", cell)] for cell in line.strip("| ").split("|")[1:]]


def mae(scores: list[dict], method: str, gap: int) -> float:
    return next(row["mae"] for row in scores if row["method"] == method and row["gap_days"] == gap)


def shipped() -> list[str]:
    return [export["sha256"] for export in measured("shipped_weights")["exports"]]


def test_the_shipped_model_is_the_last_export_and_small() -> None:
    folder = locate_model(None)
    folder = folder if folder.is_dir() else folder.parent
    manifest = read_manifest((folder / "manifest.json").read_text(encoding="utf-8"), "shipped")
    assert manifest.sha256 == shipped()[-1], "list the export in benchmarks/results/shipped_weights.json"
    assert (folder / "model.onnx").stat().st_size <= LARGEST_MODEL < SIZE_LIMITS["model.onnx"]


@pytest.mark.parametrize("name", OF_THE_SHIPPED_WEIGHTS)
def test_results_are_those_of_the_shipped_weights(name: str) -> None:
    models = measured(name)["models_sha256"]
    assert models.get("model", models.get("network")) in shipped()


def test_scores_of_other_weights_are_not_completed(tmp_path: Path) -> None:
    network = ModelPredictor.load(None, name="network")
    found = with_models({"a": {}}, [network], tmp_path / "scores.json")
    assert found == {"models_sha256": {"network": network.session.manifest.sha256}, "a": {}}
    assert with_models(found, [network], tmp_path / "scores.json") == found
    with pytest.raises(SystemExit, match="holds scores of"):
        with_models({"models_sha256": {"network": "f" * 64}}, [network], tmp_path / "scores.json")


def test_the_page_of_the_leaderboard_is_made_from_the_results() -> None:
    found = page_of(measured("leaderboard"), measured("leaderboard_subset"), measured("coverage"))
    assert text_of("leaderboard.md") == found


@pytest.mark.parametrize(("label", "name"), CARD_SETS.items())
def test_the_model_card_holds_the_held_places(label: str, name: str) -> None:
    text = text_of("model_card.md").split("### Held places")[1].split("###")[0]
    scores = measured("leaderboard")[name]["scores"]

    def at(*methods: str) -> list[float]:
        return [min(mae(scores, method, gap) for method in methods) for gap in (10, 30)]

    model, without, baseline, boosting = cells(text, label)
    if model:  # sets with radar
        assert model == pytest.approx(at("network"), abs=6e-5)
    assert without == pytest.approx(at("network, minus S1"), abs=6e-5)
    assert baseline == pytest.approx(at("linear", "whittaker 1e3", "whittaker 1e4"), abs=6e-5)
    assert boosting == pytest.approx(at("gradient boosting, same set"), abs=6e-5)


def test_the_model_card_holds_the_shares_of_the_training_data() -> None:
    model = locate_model(None)
    folder = model if model.is_dir() else model.parent
    data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["training"]["data"]
    shares = {source["name"]: 100 * source["share"] for source in data}
    patches = [name for name in shares if name.startswith("no_red")]
    text = text_of("model_card.md")
    stated = dict(re.findall(r"^\| `?(two patches|\[simulated|[a-z_0-9]+)`?.* \| (\d+) % \|", text, re.MULTILINE))
    assert {"[simulated", "two patches"} <= set(stated) and len(stated) == len(shares) - len(patches) + 1
    for name, percent in stated.items():
        names = {"[simulated": ["scenes"], "two patches": patches}.get(name, [name])
        assert float(percent) == pytest.approx(sum(shares[n] for n in names), abs=0.51), name


def test_the_model_card_holds_the_sites_of_sentinel_2_alone() -> None:
    text = text_of("model_card.md").split("### Real series")[1].split("###")[0].splitlines()
    rows = measured("sentinel2_only")["by_site_and_gap"]
    single = {"meadow": "s2_meadow", "one field": "raw_s2_ndvi_field"}
    for start, linear in (("20 flux", 1), ("meadow", 1), ("one field", 1)):
        at = next(i for i, line in enumerate(text) if line.startswith(f"| {start}"))
        sites = {single[start]} if start in single else {r["site"] for r in rows} - set(single.values())
        assert len(sites) == (1 if start in single else 20)
        for predictor, line in (("model", text[at]), ("linear", text[at + linear])):
            stated = [float(n) for n in re.findall(r"\d*\.\d+", line)]
            chosen = [r for r in rows if r["site"] in sites and r["predictor"] == predictor]
            means = [[r["mae"] for r in chosen if r["gap_days"] == gap] for gap in (2, 10, 20, 30)]
            assert stated == pytest.approx([sum(m) / len(m) for m in means], abs=6e-5), line


def test_the_model_card_holds_coverage_season_dates_and_the_adversarial_gate() -> None:
    text = text_of("model_card.md")
    real, simulated = cells(text.split("### Real series")[0], "90 % interval covers"), cells(
        text.split("### Simulated hold-out")[1], "90 % interval covers"
    )  # fmt: skip
    rows = [r["coverage_90"] for r in measured("belgium_2019")["by_gap"] if r["predictor"] == "model"]
    assert [c[0] for c in real] == pytest.approx(rows, abs=0.06)
    holdout = measured("simulated_holdout")
    rows = [r["coverage_90"] for r in [*holdout["by_bin"], *holdout["overall"]] if r["predictor"] == "model"]
    assert [c[0] for c in simulated] == pytest.approx(rows, abs=0.06)
    assert all(88 <= c[0] <= 92 for c in simulated)
    dates = [row for row in measured("simulated_seasons")["season_dates"] if row["gap_days"] == 0]
    seasons = {(row["predictor"], row["event"]): row["median_absolute_days"] for row in dates}
    stated = "{:.1f} / {:.1f} days (earlier weights {:.1f} / {:.1f})"
    assert stated.format(*(seasons[p, e] for p in ("model", "earlier") for e in ("SOS", "EOS"))) in text
    spectrum, error = (row["value"] for row in measured("adversarial_gate")["gate"])
    assert f"{100 * (1 - spectrum):.0f} % nearer" in text
    assert f"MAE is {100 * (error - 1):.1f} % larger".replace(" 0.", " .") in text


def test_pages_hold_the_coverage_of_the_sets() -> None:
    coverage = measured("coverage")
    rows, off = coverage["coverage"], coverage["deviation"]

    def between(kind: str, *sets: str) -> str:
        values = [row[kind] for row in rows if not sets or row["set"] in sets]
        return f"{min(values):.0f} to {max(values):.0f} %"

    card = text_of("model_card.md")
    assert f"{between('as_is', 'grassland_slovakia')} on Slovakian grassland" in card
    assert f"{between('as_is', 'no_red_flanders')} on the Flemish patch" in card
    assert f"[{between('left_out')}](leaderboard.md" in card
    stated = f"from {off['as_is']['mean']:.1f} points beside 90 to {off['one_factor']['mean']:.1f}"
    assert stated in " ".join(text_of("training.md").split())


def test_simulated_radar_spans_how_much_radar_explains_of_real_ndvi() -> None:
    relation = {k: v for k, v in measured("radar_relation")["relation"].items() if v is not None}
    simulated = [v["r2"] for k, v in relation.items() if k.startswith("simulated") and "3 x 3" not in k]
    real = {k: v for k, v in relation.items() if not k.startswith("simulated") and "3 x 3" not in k}
    assert len(real) == 6
    assert min(simulated) <= min(v["r2"] for v in real.values())
    assert max(simulated) >= max(v["r2"] for v in real.values())
    table = re.compile(r"^\| real: .*?\| ([\d.]+), ([\d.]+) dB, ([\d.]+) dB \| ([\d.]+) \|$", re.MULTILINE)
    for line, row in zip(table.findall(text_of("benchmarks.md")), real.values(), strict=True):
        expected = (row["std_ndvi"], row["std_vv_db"], row["std_ratio_db"], row["r2"])
        for value, exact in zip(map(float, line), expected, strict=True):
            assert value == pytest.approx(exact, abs=0.06 if exact > 1 else 0.0051)


def test_radar_by_looks_repeat_and_levels_is_stated_with_what_simulated_scenes_do_not_span() -> None:
    variants = measured("radar_relation")["variants"]
    real = ("grassland_slovakia", "patches_vietnam_2022", "no_red_flanders", "no_red_tanzania")
    page = text_of("benchmarks.md")
    short = set()
    for name in variants["simulated"]:
        groups = [variants[k][name]["r2"] for k in variants if k.startswith("simulated,")]
        seen = {k: variants[k][name]["r2"] for k in real if name in variants[k]}
        cells = [f"{seen[k]:.3f}" if k in seen else "-" for k in real]
        cells += [f"{variants['simulated'][name]['r2']:.3f}", f"{min(groups):.3f} to {max(groups):.3f}"]
        assert f"| {name} | {' | '.join(cells)} |" in page
        assert min(groups) <= min(seen.values())
        short |= {(name, k) for k, r2 in seen.items() if r2 > max(groups)}
    flanders = {(name, "no_red_flanders") for name in ("radar of 3 x 3", "radar and NDVI of the patch")}
    assert short == flanders  # what the page says that they do not span
    assert len(variants["simulated"]) == 8
    for places in variants.values():
        if "passes levelled" in places:
            assert abs(places["passes levelled"]["r2"] - places["passes as they come"]["r2"]) <= 0.0021
