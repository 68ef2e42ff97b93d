# One image for all processes: pod specs say which, as command: ["node", "/app/sidecar/main.js"].
#
#   docker build --tag tidemark .
#
# For a build that can be repeated, name both images by digest, and a time (the digest of a tag:
# docker buildx imagetools inspect IMAGE --format '{{.Manifest.Digest}}'):
#
#   docker buildx build . --tag tidemark \
#     --build-arg BUILD_IMAGE=docker.io/library/node@sha256:... \
#     --build-arg RUNTIME_IMAGE=gcr.io/distroless/nodejs26-debian13@sha256:... \
#     --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) --build-arg REVISION=$(git rev-parse HEAD) \
#     --output type=image,rewrite-timestamp=true
#
# The time of files is not the machine's then, and neither is that of layers. test/image runs all of this but for the
# images themselves.

ARG BUILD_IMAGE=docker.io/library/node:26-trixie
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs26-debian13:nonroot

FROM ${RUNTIME_IMAGE} AS runtime

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# Bytecode is made by the very Node that reads it.
COPY --from=runtime /nodejs/bin/node .runtime/node
ARG SOURCE_DATE_EPOCH=0
RUN SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} node scripts/bootstrap.mjs build --out dist --node .runtime/node

FROM runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tidemark" \
      org.opencontainers.image.description="A coherent cache for services over Postgres" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/tidemark/tidemark" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /src/dist/app /app
# V8 by itself uses half of a container's memory for its heap, and never more than 4 GB: a sidecar full of small values would end
# there, with the other half free.
ENV PATH=/nodejs/bin:/usr/local/bin:/usr/bin:/bin \
    NODE_ENV=production \
    NODE_COMPILE_CACHE=/app/bytecode \
    NODE_COMPILE_CACHE_PORTABLE=1 \
    NODE_OPTIONS=--max-old-space-size-percentage=75
# Any other works too: nothing is written, and nothing of /app belongs to a user.
USER 65532:65532
WORKDIR /app
ENTRYPOINT ["node"]
CMD ["/app/invalidator/main.js", "--help"]
