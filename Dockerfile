# ndvi-fusion on a CPU: inference, season dates, cube files, the command line.
#
#   docker build --tag ndvi-fusion .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" ndvi-fusion predict cube=cube.nc out=ndvi.nc
#
# Other parts: --build-arg EXTRAS=fast,plots,stac,fields (docs/installation.md lists them), or EXTRAS= for none.

FROM python:3.11-slim AS wheel
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim
ARG EXTRAS=fast,plots
COPY --from=wheel /wheels /wheels
COPY constraints.txt /wheels/
# libexpat1: the wheels of rasterio bring their own GDAL, which expects this one of the system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir --constraint /wheels/constraints.txt "$(ls /wheels/*.whl)${EXTRAS:+[$EXTRAS]}" \
    && mkdir --mode 1777 /cache \
    && useradd --home-dir /cache fusion
# any user may run it: compiled code and fonts are kept in this folder
ENV HOME=/cache MPLBACKEND=Agg
USER fusion
WORKDIR /data
ENTRYPOINT ["ndvi-fusion"]
CMD ["--help"]
