# streamkind without CUDA, on amd64 and arm64. From the folder of the source:
#   docker build -f docs/docker/cpu.Dockerfile -t streamkind .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/videos" streamkind \
#     enhance night.mp4 clear.mp4
FROM python:3.13-slim

ENV PIP_NO_CACHE_DIR=1 STREAMKIND_ENGINES=/usr/local/share/streamkind STREAMKIND_CACHE=/tmp/streamkind
RUN useradd --create-home streamkind
COPY engines/kindpp-*.onnx /usr/local/share/streamkind/
COPY . /source
RUN pip install "/source[live]" && rm -rf /source
USER streamkind
WORKDIR /videos
# For `serve` only: while another command runs, Docker shows the container as unhealthy.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8780/healthz')"]
ENTRYPOINT ["streamkind"]
CMD ["--help"]
