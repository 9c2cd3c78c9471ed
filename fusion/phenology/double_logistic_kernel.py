"""Loops for numba of the double-logistic fit; the numpy version is in ``double_logistic.py``."""

import numpy as np

# A season stops once a step reduces the weighted sum of squares by less than this: after a step below 1.7 standard
# deviations (all parameters together) the rest is below 0.25 of one in 95 % of the seasons of bench_phenology.py.
MIN_GAIN = 3.0
PAD = 8  # samples per vector of the compiled kernel
LANES = 8  # seasons solved side by side in the compiled kernel


def fit_kernel(obs, sigma, pixel, window, theta, step, rho, iterations, precision, limits, chol, chi2, typical):
    """Fit all seasons: sums over time per season (vectorised along time), linear solves for several (lanes) at once."""
    lanes, size = LANES, obs.shape[1] + 1 + PAD
    s1, s2, inverse = np.zeros(size), np.zeros(size), np.zeros(size)
    alpha, beta, z = np.zeros((lanes, size)), np.zeros((lanes, size)), np.zeros((lanes, size))
    sums, factor = np.zeros((36, lanes)), np.zeros((36, lanes))
    now, mean, move, gain = np.zeros((7, lanes)), np.zeros((7, lanes)), np.zeros((7, lanes)), np.zeros(lanes)
    seen, going = np.zeros(lanes), np.zeros(lanes)
    for first in range(0, len(pixel), lanes):
        n = min(lanes, len(pixel) - first)
        for p in range(n):
            m = first + p
            begin, end = window[m, 0], window[m, 1] + 1
            y, spread = obs[pixel[m], begin:end], sigma[pixel[m], begin:end]
            seen[p], total = load_window(y, spread, rho, inverse, alpha[p], beta[p], z[p])
            typical[m] = total / max(seen[p], 1.0)
            going[p] = 1.0
            for j in range(7):
                now[j, p] = theta[m, j]
                mean[j, p] = theta[m, j]
            mean[2, p], mean[4, p], mean[6, p] = 0.0, limits[7], limits[7]
        for _ in range(iterations):
            for p in range(n):
                if going[p] > 0:
                    length = window[first + p, 1] - window[first + p, 0] + PAD  # whole vectors, padded with weight 0
                    length -= length % PAD
                    logistics(length, step, now[3, p], now[4, p], s1)
                    logistics(length, step, now[5, p], now[6, p], s2)
                    normal_equations(length, step, alpha[p], beta[p], z[p], s1, s2, now, p, sums)
            solve_lanes(sums, precision, mean, now, factor, move, gain)
            for p in range(n):
                if going[p] > 0:
                    update_season(limits, factor[:, p], move[:, p], now[:, p], chol[first + p])
                    chi2[first + p] = sums[35, p] / max(seen[p], 1.0)
                    going[p] = 1.0 if gain[p] >= MIN_GAIN else 0.0
            if going[:n].sum() == 0:
                break
        for p in range(n):
            for j in range(7):
                theta[first + p, j] = now[j, p]


def load_window(obs, sigma, rho, inverse, alpha, beta, z):
    """Load observations and whitening factors of a window, from index 1; returns their number and sum of sigma."""
    whiten, seen, total, length = 1.0 / np.sqrt(1.0 - rho * rho), 0.0, 0.0, len(obs)
    for i in range(length):
        value, spread = obs[i], sigma[i]
        valid = (value - value == 0) & (spread > 0) & (spread - spread == 0)  # finite
        inverse[i + 1] = 1.0 / spread if valid else 0.0
        z[i + 1] = value if valid else 0.0
        seen += 1.0 if valid else 0.0
        total += spread if valid else 0.0
    for i in range(length):
        here, before = inverse[i + 1], inverse[i]
        paired = here * before > 0
        alpha[i + 1] = here * whiten if paired else here
        beta[i + 1] = rho * whiten * before if paired else 0.0
    for i in range(length + 1, length + 1 + PAD):
        alpha[i], beta[i], z[i] = 0.0, 0.0, 0.0
    return seen, total


def logistics(length, step, middle, log_k, s):
    """Logistic function at samples 1 to ``length``, by four interleaved recursions of its exponential."""
    rate = np.exp(-log_k)
    grow, e = np.exp(-step * rate), np.exp(min(max(middle * rate, -300.0), 300.0))
    for i in range(1, min(4, length) + 1):
        s[i] = e
        e *= grow
    leap = grow * grow * grow * grow
    for i in range(5, length + 1):
        s[i] = s[i - 4] * leap
    for i in range(1, length + 1):
        s[i] = 1.0 / (1.0 + s[i])


def normal_equations(length, step, alpha, beta, z, s1, s2, theta, lane, sums):
    """Normal equations of the whitened curve: products of the seven columns and the residual, loops unrolled."""
    a00 = a01 = a02 = a03 = a04 = a05 = a06 = a07 = 0.0
    a11 = a12 = a13 = a14 = a15 = a16 = a17 = 0.0
    a22 = a23 = a24 = a25 = a26 = a27 = a33 = a34 = a35 = a36 = a37 = 0.0
    a44 = a45 = a46 = a47 = a55 = a56 = a57 = a66 = a67 = a77 = 0.0
    base, rise, fall = theta[0, lane], theta[1, lane], theta[1, lane] - theta[2, lane]
    i1, i2 = np.exp(-theta[4, lane]), np.exp(-theta[6, lane])
    h1, h2, c1, c2 = step * i1, step * i2, theta[3, lane] * i1, theta[5, lane] * i2
    for i in range(1, length + 1):
        a, b = alpha[i], beta[i]
        x1, x2 = (i - 1) * h1 - c1, (i - 1) * h2 - c2
        j0 = a - b
        s, q, sb, qb = s1[i], s2[i], s1[i - 1], s2[i - 1]
        j1 = a * (s - q) - b * (sb - qb)
        j2 = a * q - b * qb
        p, pb = a * s * (1.0 - s), b * sb * (1.0 - sb)
        j3 = p - pb
        j4 = j3 * x1 + pb * h1
        p, pb = a * q * (1.0 - q), b * qb * (1.0 - qb)
        j5 = p - pb
        j6 = j5 * x2 + pb * h2
        j7 = a * (z[i] - base - rise * s + fall * q) - b * (z[i - 1] - base - rise * sb + fall * qb)
        a00, a01, a02, a03 = a00 + j0 * j0, a01 + j0 * j1, a02 + j0 * j2, a03 + j0 * j3
        a04, a05, a06, a07 = a04 + j0 * j4, a05 + j0 * j5, a06 + j0 * j6, a07 + j0 * j7
        a11, a12, a13, a14 = a11 + j1 * j1, a12 + j1 * j2, a13 + j1 * j3, a14 + j1 * j4
        a15, a16, a17 = a15 + j1 * j5, a16 + j1 * j6, a17 + j1 * j7
        a22, a23, a24, a25 = a22 + j2 * j2, a23 + j2 * j3, a24 + j2 * j4, a25 + j2 * j5
        a26, a27 = a26 + j2 * j6, a27 + j2 * j7
        a33, a34, a35, a36 = a33 + j3 * j3, a34 + j3 * j4, a35 + j3 * j5, a36 + j3 * j6
        a37 = a37 + j3 * j7
        a44, a45, a46, a47 = a44 + j4 * j4, a45 + j4 * j5, a46 + j4 * j6, a47 + j4 * j7
        a55, a56, a57 = a55 + j5 * j5, a56 + j5 * j6, a57 + j5 * j7
        a66, a67 = a66 + j6 * j6, a67 + j6 * j7
        a77 = a77 + j7 * j7
    f3, f4, f5, f6 = -rise * i1, -rise, fall * i2, fall
    out = sums[:, lane]  # one by one: numba compiles a loop over a tuple to a chain of branches
    out[0], out[1], out[2], out[3], out[4], out[5] = a00, a01, a02, a03 * f3, a04 * f4, a05 * f5
    out[6], out[7], out[8], out[9], out[10], out[11] = a06 * f6, a07, a11, a12, a13 * f3, a14 * f4
    out[12], out[13], out[14], out[15], out[16], out[17] = a15 * f5, a16 * f6, a17, a22, a23 * f3, a24 * f4
    out[18], out[19], out[20], out[21], out[22] = a25 * f5, a26 * f6, a27, a33 * f3 * f3, a34 * f3 * f4
    out[23], out[24], out[25], out[26] = a35 * f3 * f5, a36 * f3 * f6, a37 * f3, a44 * f4 * f4
    out[27], out[28], out[29], out[30] = a45 * f4 * f5, a46 * f4 * f6, a47 * f4, a55 * f5 * f5
    out[31], out[32], out[33], out[34], out[35] = a56 * f5 * f6, a57 * f5, a66 * f6 * f6, a67 * f6, a77


def solve_lanes(sums, precision, mean, theta, factor, move, gain):
    """Add the priors, factorise (rows of the upper triangle, ordered as in ``sums``) and solve, for all lanes."""
    for p in range(LANES):
        gain[p] = 0.0
    row = 0
    for j in range(7):
        for n in range(row, row + 8 - j):
            for p in range(LANES):
                factor[n, p] = sums[n, p]
        right = row + 7 - j
        for p in range(LANES):
            factor[row, p] += precision[j]
            factor[right, p] += precision[j] * (mean[j, p] - theta[j, p])
        row += 8 - j
    row = 0
    for j in range(7):
        for p in range(LANES):
            factor[row, p] = np.sqrt(factor[row, p])
            move[j, p] = 1.0 / factor[row, p]
        for n in range(row + 1, row + 8 - j):
            for p in range(LANES):
                factor[n, p] *= move[j, p]
        other = row + 8 - j
        for k in range(j + 1, 7):
            for n in range(8 - k):
                for p in range(LANES):
                    factor[other + n, p] -= factor[row + k - j, p] * factor[row + k - j + n, p]
            other += 8 - k
        for p in range(LANES):
            gain[p] += factor[row + 7 - j, p] ** 2
        row += 8 - j
    for j in range(6, -1, -1):
        row -= 8 - j
        for k in range(j + 1, 7):
            for p in range(LANES):
                factor[row + 7 - j, p] -= factor[row + k - j, p] * move[k, p]
        for p in range(LANES):
            move[j, p] *= factor[row + 7 - j, p]


def update_season(limits, factor, move, theta, chol):
    """Apply a bounded step to the parameters of one season and store its Cholesky factor."""
    n = 0
    for j in range(7):
        theta[j] += min(max(move[j], -limits[j]), limits[j])
        for k in range(j, 7):
            chol[k, j] = factor[n]
            if k > j:
                chol[j, k] = 0.0
            n += 1
        n += 1
    theta[4] = min(max(theta[4], limits[8]), limits[9])
    theta[6] = min(max(theta[6], limits[8]), limits[9])
