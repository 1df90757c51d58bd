# streamkind without CUDA. From the folder of the source:
#   docker build -f docs/docker/cpu.Dockerfile -t streamkind .
#   docker run --rm -v "$PWD:/videos" streamkind enhance /videos/night.mp4
FROM python:3.13-slim

ENV PIP_NO_CACHE_DIR=1
RUN useradd --create-home streamkind
COPY . /source
RUN pip install "/source[live]" && rm -rf /source
USER streamkind
WORKDIR /videos
ENTRYPOINT ["streamkind"]
CMD ["--help"]
