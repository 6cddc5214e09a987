# Builds the kernel with the configuration in /src/config.
umask 022
export LC_ALL=C TZ=UTC
KBUILD_BUILD_TIMESTAMP=$(date -u -d "@$SOURCE_DATE_EPOCH")
export KBUILD_BUILD_TIMESTAMP
mkdir linux objects out
tar -xf /src/linux.tar.xz -C linux --strip-components=1

cp /src/config objects/.config
make -s -C linux O=/build/objects olddefconfig
cmp objects/.config /src/config
make -s -C linux O=/build/objects -j"$(nproc)" "$TARGET"
cp "objects/$IMAGE" out/vmlinuz
