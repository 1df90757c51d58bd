# streamkind on NVIDIA cards with classic TensorRT. From the folder of the source:
#   docker build -f docs/docker/tensorrt.Dockerfile -t streamkind:tensorrt .
#   docker run --rm --gpus all -v "$PWD:/videos" -v streamkind-cache:/cache streamkind:tensorrt \
#     enhance night.mp4 clear.mp4
# NVIDIA's image has the CUDA toolkit that PyCUDA is compiled with, and TensorRT's own package.
FROM nvcr.io/nvidia/tensorrt:25.10-py3

ENV STREAMKIND_CACHE=/cache PIP_NO_CACHE_DIR=1 NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
  STREAMKIND_ENGINES=/usr/local/share/streamkind
RUN useradd --create-home streamkind && install --directory --owner streamkind --mode 700 /cache
COPY engines/kindpp-*.onnx /usr/local/share/streamkind/
COPY . /source
RUN pip install "pycuda>=2024.1" "onnx>=1.17" "/source[live]" && rm -rf /source
USER streamkind
WORKDIR /videos
VOLUME /cache
HEALTHCHECK --interval=10s --timeout=3s --start-period=600s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8780/healthz')"]
ENTRYPOINT ["streamkind"]
CMD ["--help"]
