#!/bin/sh
# into.sh - puts standard input into FILE, between the lines <!-- NAME --> and <!-- /NAME -->.
#
#   tools/into.sh FILE NAME
set -eu
file=$1 name=$2
grep -qx "<!-- $name -->" "$file" && grep -qx "<!-- /$name -->" "$file" || {
    echo "into: $file has no place for $name" >&2
    exit 1
}
table=$(mktemp)
changed=$(mktemp)
trap 'rm -f "$table" "$changed"' EXIT
cat > "$table"
awk -v table="$table" -v first="<!-- $name -->" -v last="<!-- /$name -->" '
    $0 == last { skip = 0 }
    !skip { print }
    $0 == first { skip = 1; while ((getline line < table) > 0) print line }' "$file" > "$changed"
cat "$changed" > "$file"
