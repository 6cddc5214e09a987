# Builds the program $BIN of the crate in /src/crate, with the crates in /src/crates and no others.
umask 022
export LC_ALL=C TZ=UTC CARGO_HOME=/build/cargo CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0
cp -R /src/crate crate
chmod -R u+w crate
mkdir vendor cargo
for file in /src/crates/*.crate; do
    [ -e "$file" ] || continue
    name=${file##*/}
    name=${name%.crate}
    tar -xzf "$file" -C vendor
    # Cargo wants to know what it would have been given; the files were checked by their hash.
    sum=$(sha256sum "$file" | cut -d' ' -f1)
    printf '{"files":{},"package":"%s"}' "$sum" > "vendor/$name/.cargo-checksum.json"
done
cat > cargo/config.toml <<'TOML'
[source.crates-io]
replace-with = "vendor"
[source.vendor]
directory = "/build/vendor"
TOML

export RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,--build-id=none \
--remap-path-prefix=/build/crate=/crate --remap-path-prefix=/build/vendor=/vendor"
cd crate
cargo build --quiet --release --locked --offline --target "$TRIPLE" --bin "$BIN" \
    --target-dir /build/target
mkdir ../out
cp "../target/$TRIPLE/release/$BIN" ../out/program
