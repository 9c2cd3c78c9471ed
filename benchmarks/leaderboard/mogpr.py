"""MOGPR by FuseTS, in an environment of its own, since FuseTS asks for old releases of numpy.

This file is also the program of that environment (numpy, GPy and fusets; nothing of this project), which reads a
series a line from standard input and answers with a line.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


class Mogpr:
    """Gaussian processes of NDVI and the radar vegetation index 4 VH / (VV + VH), fitted to each pixel alone."""

    name = "mogpr (fusets)"

    def __init__(self, python: str) -> None:
        self.worker = subprocess.Popen(
            [python, str(Path(__file__).resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def predict(self, cube: Any, dates: np.ndarray, *, target: str = "ndvi") -> Any:
        """Predict NDVI without sigma; see :class:`fusion.evaluation.predictor.Predictor`."""
        from fusion.evaluation.predictor import Prediction, to_days
        from fusion.features.observations import observations_from_cube

        obs = observations_from_cube(cube)
        vv, vh = (10 ** (band / 10) for band in (obs.vv_db, obs.vh_db))
        index = 4 * vh / (vv + vh)
        ndvi = np.empty((len(dates), *obs.shape), np.float32)
        for row, column in np.ndindex(obs.shape):
            s2, s1 = obs.s2_ndvi[:, row, column], index[:, row, column]
            request = {
                "values": [s2[np.isfinite(s2)].tolist(), s1[np.isfinite(s1)].tolist()],
                "days": [obs.s2_days[np.isfinite(s2)].tolist(), obs.s1_days[np.isfinite(s1)].tolist()],
                "wanted": to_days(dates).tolist(),
            }
            ndvi[:, row, column] = self.ask(request)
        return Prediction(ndvi, None)

    def ask(self, request: dict) -> list[float]:
        """NDVI of the days wanted, NaN where the fit failed."""
        assert self.worker.stdin is not None and self.worker.stdout is not None
        self.worker.stdin.write(json.dumps(request) + "\n")
        self.worker.stdin.flush()
        answer = self.worker.stdout.readline()
        if not answer:
            raise RuntimeError("the environment of fusets ended; its error stands above. Are fusets and GPy installed?")
        return json.loads(answer)


def serve() -> None:
    """Answer every line of standard input."""
    from fusets.mogpr import mogpr_1D

    for line in sys.stdin:
        request = json.loads(line)
        data, days = ([np.array(part, float) for part in request[key]] for key in ("values", "days"))
        mean, *_ = mogpr_1D(data, days, 0, np.array(request["wanted"], float), 1)
        print(json.dumps(mean[0].tolist()), flush=True)


if __name__ == "__main__":
    serve()
