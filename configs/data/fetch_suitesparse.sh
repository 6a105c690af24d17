#!/bin/sh
# fetch_suitesparse.sh - downloads matrices of the SuiteSparse collection.
#
#   sh configs/data/fetch_suitesparse.sh FOLDER [NAME ...]
#
# Without names, all of configs/data/suitesparse.json: many gigabytes.  Each ends
# up as FOLDER/NAME.mtx, to be given to claimbench by that path.  A broken
# download is resumed by the next call; what is there already is left alone.
# Needs curl or wget, and tar.  No test and no make target calls this.
set -u

list=$(dirname "$0")/suitesparse.json
servers='https://suitesparse-collection-website.herokuapp.com/MM https://sparse.tamu.edu/MM'

if [ $# -lt 1 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
folder=$1
shift
mkdir -p "$folder" || exit 1
if ! command -v curl >/dev/null && ! command -v wget >/dev/null; then
    echo "fetch_suitesparse.sh: needs curl or wget" >&2
    exit 1
fi

# One matrix a line in the list, so that no JSON parser is needed: value of key $2 in line $1.
value() {
    printf '%s\n' "$1" | sed -n "s/.*\"$2\": \"\{0,1\}\([^\",}]*\).*/\1/p"
}

# Continues $2 from $1; what was fetched whole before is not asked for again.
download() {
    if tar -tzf "$2" >/dev/null 2>&1; then
        return 0
    elif command -v curl >/dev/null; then
        curl --fail --location --silent --show-error --continue-at - --retry 3 --output "$2" "$1"
    else
        wget --quiet --continue --tries=3 --output-document="$2" "$1"
    fi
}

# The sizes in the file against those in the list: rows and columns, exactly.
sizes_match() {
    sizes=$(grep -v '^%' "$1" | sed -n '/[0-9]/{p;q;}')
    # shellcheck disable=SC2086
    set -- $2 $3 $sizes
    [ "$1" = "${3:-}" ] && [ "$2" = "${4:-}" ]
}

# Fetches the matrix of one line of the list; 1 on failure.
fetch() {
    name=$(value "$1" name)
    group=$(value "$1" group)
    target=$folder/$name.mtx
    part=$folder/$name.tar.gz.part
    if [ -s "$target" ]; then
        echo "$name: already there"
        return 0
    fi
    for server in $servers; do
        echo "$name: $server/$group/$name.tar.gz"
        download "$server/$group/$name.tar.gz" "$part" || continue
        # a damaged archive cannot be resumed: start over at the next server
        if ! tar -tzf "$part" >/dev/null 2>&1; then
            echo "$name: damaged archive" >&2
            rm -f "$part"
            continue
        fi
        # the archive may hold right-hand sides too; only NAME/NAME.mtx is wanted,
        # renamed when it is whole
        if tar -xzOf "$part" "$name/$name.mtx" >"$target.new" &&
            sizes_match "$target.new" "$(value "$1" rows)" "$(value "$1" cols)"; then
            mv "$target.new" "$target" && rm -f "$part"
            return 0
        fi
        echo "$name: not the matrix that the list describes" >&2
        rm -f "$target.new" "$part"
    done
    echo "$name: not fetched" >&2
    return 1
}

failed=0
wanted=${*:-$(sed -n 's/.*"name": "\([^"]*\)".*/\1/p' "$list")}
for wish in $wanted; do
    line=$(grep -F "\"name\": \"$wish\"," "$list" | head -n 1)
    if [ -z "$line" ]; then
        echo "$wish: not in $list" >&2
        failed=1
    else
        fetch "$line" || failed=1
    fi
done
exit $failed
