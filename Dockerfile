# docker build --target cpu -t gaussian-splatting .          then: docker run --rm -v "$PWD:/work" gaussian-splatting \
# docker build --target cuda -t gaussian-splatting:cuda .          python -m gaussian_splatting.train -s data/truck -d out
# For the second, run with --gpus all (NVIDIA container toolkit).

FROM python:3.12-slim AS cpu
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libgl1 libglib2.0-0 libgomp1 libusb-1.0-0 libx11-6 \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu
COPY . /opt/gaussian_splatting
RUN pip install --no-cache-dir "/opt/gaussian_splatting[all]"
# Compiled kernels are kept here; any user of the container may write them.
ENV NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /work
CMD ["python", "-m", "gaussian_splatting.doctor"]

# The development image: gsplat builds its CUDA kernels with nvcc when no wheel brings them.
FROM pytorch/pytorch:2.6.0-cuda12.4-cudnn9-devel AS cuda
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libgl1 libglib2.0-0 libgomp1 libusb-1.0-0 libx11-6 ninja-build \
    && rm -rf /var/lib/apt/lists/*
COPY . /opt/gaussian_splatting
RUN pip install --no-cache-dir "/opt/gaussian_splatting[all]"
ENV NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /work
CMD ["python", "-m", "gaussian_splatting.doctor"]
