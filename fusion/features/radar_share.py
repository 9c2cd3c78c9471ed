"""How much of the NDVI of a place its radar has explained so far, and what the radar alone would give.

Backscatter follows greenness on some fields and not on others: over 12 to 45 days its changes explain less than 2 % of
those of NDVI on mown grassland and up to 35 % on arable land. Every series shows where it stands: at the visible
observations the short-term departures of NDVI are regressed on those of VV and of the cross ratio. The explained share
and the estimate are channels of the network, so that it can believe radar as far as radar has proved itself.
"""

import numpy as np

from fusion.contract import NDVI_UNIT
from fusion.features.kernels import box_mean

SHARE_RADIUS_PX = 4  # the regression is pooled over 9 x 9 pixels: about one field
RIDGE_DB2 = 2.0  # added to the sums of squares: little radar variation gives a flat regression
PRIOR_COUNT = 4.0  # observations at which the share is halved


def explained_share(
    ndvi: np.ndarray, vv: np.ndarray, cross_ratio: np.ndarray, used: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regress departures of NDVI on those of radar, per pixel with its surroundings.

    Parameters
    ----------
    ndvi : float32 (n, P)
        Observation minus the slow course of NDVI.
    vv, cross_ratio : float32 (n, P)
        Backscatter minus its slow course at the dates of the observations, dB.
    used : bool (n, P)
        Where all three are known.
    size : (H, W)
        The P pixels as an image.

    Returns
    -------
    share : float32 (P,)
        Explained share of the variance, corrected for the two coefficients and shrunk where observations are few; it
        is negative where radar explains less than chance would.
    vv_slope, cross_ratio_slope : float32 (P,)
        NDVI per dB.
    """
    u, a, b = (np.where(used, values, np.float32(0)) for values in (ndvi, vv, cross_ratio))
    products = ((used, used), (u, u), (u, a), (u, b), (a, a), (b, b), (a, b))
    sums = np.stack([np.einsum("np,np->p", x, y, dtype=np.float32) for x, y in products])
    if size != (1, 1):
        sums = box_mean(sums.reshape(-1, *size), SHARE_RADIUS_PX)[0].reshape(len(products), -1)
    count, uu, ua, ub, aa, bb, ab = sums
    aa, bb = aa + np.float32(RIDGE_DB2), bb + np.float32(RIDGE_DB2)
    determinant = aa * bb - ab * ab
    vv_slope, ratio_slope = (ua * bb - ub * ab) / determinant, (ub * aa - ua * ab) / determinant
    explained = vv_slope * ua + ratio_slope * ub
    unexplained = (uu - explained) * count / np.maximum(count - 2, np.float32(0.5))
    share = np.clip(1 - unexplained / np.maximum(uu, np.float32(1e-4)), -1, 1) * count / (count + PRIOR_COUNT)
    return share.astype(np.float32), vv_slope.astype(np.float32), ratio_slope.astype(np.float32)
