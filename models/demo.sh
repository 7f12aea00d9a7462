#!/bin/sh
# Three questions to the bundled student over the bundled corpus.
set -eu
retort=$1
while read -r question; do
  printf '\n? %s\n' "$question"
  "$retort" ask "$question" --corpus demo
done < "$(dirname "$0")/demo/questions.txt"
