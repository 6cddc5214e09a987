# Builds one platform of edk2 with its options, after Debian's patches and ours.
umask 022
export LC_ALL=C TZ=UTC PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
unpack() {
    mkdir "$2"
    tar -xf "$1" -C "$2" --strip-components=1
}
apply() {
    patch -s -p1 --binary -i "$1" || { echo "the patch ${1##*/} does not apply"; exit 1; }
}

unpack /src/edk2.tar edk2
cd edk2
if [ -e /src/debian.tar ]; then
    unpack /src/debian.tar ../debian
    sed -e 's/#.*//' -e '/^ *$/d' ../debian/patches/series |
        while read -r name _; do apply "../debian/patches/$name"; done
fi
for file in /src/patches/*.patch; do apply "$file"; done

export WORKSPACE=$PWD EDK_TOOLS_PATH=$PWD/BaseTools CONF_PATH=$PWD/Conf PYTHON_COMMAND=python3
export PATH=$EDK_TOOLS_PATH/BinWrappers/PosixLike:$PATH
for name in build_rule tools_def target; do
    cp "BaseTools/Conf/$name.template" "Conf/$name.txt"
done
make -s -C BaseTools/Source/C -j"$(nproc)"

# A string of 16-bit characters as the option takes it: edk2 adds the quotes.
text() { printf 'L%s\\0' "$1"; }
sed -e 's/#.*//' -e '/^ *$/d' /src/options | tr '\n' ' ' > ../options
# shellcheck disable=SC2046 # each word of the options is one
build -a X64 -t GCC5 -b RELEASE -n "$(nproc)" -p "$PLATFORM" \
    $(cat ../options) \
    --pcd "PcdFirmwareVendor=$(text guestsmith)" \
    --pcd "PcdFirmwareVersionString=$(text "$VERSION")" \
    --pcd "PcdFirmwareReleaseDateString=$(text "$(date -u -d "@$SOURCE_DATE_EPOCH" +%m/%d/%Y)")"
mkdir ../out
cp "$IMAGE" ../out/firmware.fd
