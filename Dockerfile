# polygate in a container: built with the toolchain that Cargo.toml asks for, run as nobody in particular.
#
#   docker build -t polygate .
#   docker run --rm -p 7007:7007 polygate
#
# It needs no capability and no writable file system besides its state folder, which is a volume:
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges -v polygate:/var/lib/polygate polygate

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The dependencies first, with an empty program in place of ours: they are built again only when
# Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir -p src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --bin polygate \
    && rm -rf src target/release/polygate target/release/deps/polygate-* target/release/deps/libpolygate-* \
        target/release/.fingerprint/polygate-*
COPY src src
COPY config/reference.toml config/
ARG REVISION=unknown
RUN POLYGATE_REVISION="$REVISION" cargo build --release --locked --bin polygate \
    && objcopy --strip-debug target/release/polygate /polygate \
    && mkdir /state

FROM gcr.io/distroless/cc-debian12:nonroot
ARG REVISION=unknown
LABEL org.opencontainers.image.title="polygate" \
    org.opencontainers.image.description="A configurable multi-protocol network gateway" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.revision="$REVISION"
COPY --from=build /polygate /usr/local/bin/polygate
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/polygate/
COPY config/docker.toml /etc/polygate/polygate.toml
COPY --from=build --chown=65532:65532 /state /var/lib/polygate
ENV STATE_DIRECTORY=/var/lib/polygate
USER 65532:65532
WORKDIR /var/lib/polygate
VOLUME /var/lib/polygate
# SIGTERM drains for shutdown.grace (8 s), which is below Docker's 10 s.
STOPSIGNAL SIGTERM
EXPOSE 7007/tcp 7007/udp 7008/tcp 7008/udp 8080/tcp 2121/tcp 40000-40009/tcp 9901/tcp
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/polygate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/polygate"]
