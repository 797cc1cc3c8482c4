#!/usr/bin/env bash
# Downloads Meta's SAM 2.1 checkpoints into this folder (with --all, SAM 2 as well). `sam2 models pull NAME` does the
# same for one at a time, checks the file, and continues a broken download.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

base="https://dl.fbaipublicfiles.com/segment_anything_2"
files=(092824/sam2.1_hiera_{tiny,small,base_plus,large}.pt)
if [[ "${1:-}" == "--all" ]]; then
    files+=(072824/sam2_hiera_{tiny,small,base_plus,large}.pt)
elif [[ $# -gt 0 ]]; then
    echo "usage: $0 [--all]" >&2
    exit 2
fi

for file in "${files[@]}"; do
    name="${file##*/}"
    if [[ -f "$name" ]]; then
        echo "$name is here already"
        continue
    fi
    echo "Downloading $name"
    if command -v curl > /dev/null; then
        curl --fail --location --retry 3 --continue-at - --output "$name.part" "$base/$file"
    elif command -v wget > /dev/null; then
        wget --continue --output-document "$name.part" "$base/$file"
    else
        echo "install curl or wget first" >&2
        exit 1
    fi
    mv "$name.part" "$name"
done
