#!/bin/bash
# compare.sh - results/new/NAME (all, if no name is given) beside the recorded ones; options are
# those of `claimbench compare`.
cd "$(dirname "$0")" || exit 1
. ./program.sh
name=all
case ${1-} in '' | -*) ;; *) name=$1; shift ;; esac
"$CLAIMBENCH" compare results/reference/*/"$paper" "results/new/$name" "$@" -o "results/new/$name/compared"
