# Makes /build/out/config from the lines in /src/wanted, and tells in /build/out/definitions where
# and on what conditions the kernel defines each option that they name.
umask 022
export LC_ALL=C TZ=UTC
mkdir linux objects out
# Two thirds of the files say nothing about options.
tar -xf /src/linux.tar.xz -C linux --strip-components=1 --exclude='*/Documentation/*.*' --exclude='*.dts*' \
    --exclude='*/arch/*.[chS]' --exclude='*/drivers/*.[ch]' --exclude='*/fs/*.[ch]' --exclude='*/net/*.[ch]' \
    --exclude='*/sound/*.[ch]' --exclude='*/tools/perf/*' --exclude='*/tools/testing/*'

make -s -C linux O=/build/objects KCONFIG_ALLCONFIG=/src/wanted allnoconfig
cp objects/.config out/config

cut -d= -f1 /src/wanted | sed 's/^CONFIG_//' > names
cd linux
find . -name 'Kconfig*' -type f | sort | xargs awk '
    FILENAME == "/build/names" { wanted[$1] = 1; next }
    /^[ \t]*(menu)?config[ \t]/ {
        name = $2
        if (name in wanted) print name "\tdefined in " substr(FILENAME, 3) ":" FNR
        next
    }
    /^[^ \t#]/ { name = "" }
    name in wanted && /^[ \t]+depends on / { sub(/^[ \t]+/, ""); print name "\t" $0 }
' /build/names > ../out/definitions
