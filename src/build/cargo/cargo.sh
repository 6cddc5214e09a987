# Builds the program $BIN of the crate in $DIR of the sources, with the crates of /src/crates and the
# repositories of /src/git, and no others.
umask 022
export LC_ALL=C TZ=UTC CARGO_HOME=/build/cargo CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0
if [ -e /src/source.tar ]; then
    mkdir crate
    tar -xf /src/source.tar -C crate --strip-components=1
else
    cp -R /src/crate crate
    chmod -R u+w crate
fi

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

# A repository becomes a directory with a link for each crate that is wanted of it; Cargo looks for
# the workspace of a crate above the link.
manifest_of() { # TREE CRATE
    find "$1" -name Cargo.toml | LC_ALL=C sort | while read -r manifest; do
        found=$(sed -n '/^\[package\]/,/^\[[^p]/s/^name *= *"\(.*\)".*/\1/p' "$manifest" | head -n 1)
        if [ "$found" = "$2" ]; then
            echo "$manifest"
            break
        fi
    done
}
for list in /src/git/*.crates; do
    [ -e "$list" ] || continue
    commit=${list##*/}
    commit=${commit%.crates}
    tree=/build/git/trees/$commit
    mkdir -p "$tree" "git/$commit"
    tar -xf "/src/git/$commit.tar" -C "$tree" --strip-components=1
    while read -r name; do
        manifest=$(manifest_of "$tree" "$name")
        if [ -z "$manifest" ]; then
            # It may stand in a submodule and not be needed: Cargo says so if it is.
            echo "commit $commit has no crate $name"
            continue
        fi
        dir=${manifest%/*}
        echo '{"files":{},"package":null}' > "$dir/.cargo-checksum.json"
        ln -s "$dir" "git/$commit/$name"
        while [ "$dir" != "$tree" ]; do
            dir=${dir%/*}
            if grep -qs '^\[workspace' "$dir/Cargo.toml"; then
                cp "$dir/Cargo.toml" "git/$commit/Cargo.toml"
                break
            fi
        done
    done < "$list"
done
cp /src/config.toml cargo/config.toml

export RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,--build-id=none \
--remap-path-prefix=/build/crate=/crate --remap-path-prefix=/build/vendor=/vendor \
--remap-path-prefix=/build/git=/git"
cd "crate/$DIR"
if [ -e /src/prepare.sh ]; then
    sh -eu /src/prepare.sh
fi
# shellcheck disable=SC2086 # each word of the options is one
cargo build --quiet --release --locked --offline --target "$TRIPLE" --bin "$BIN" $OPTIONS \
    --target-dir /build/target
mkdir /build/out
cp "/build/target/$TRIPLE/release/$BIN" /build/out/program
