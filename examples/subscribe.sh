#!/bin/sh
# Do something at each event, in plain shell: sh subscribe.sh [ENDPOINT [COUNT]]
# STREAMER names the command if it is not on the path, for instance STREAMER="python -m streamer".

endpoint=${1:-tcp://127.0.0.1:7790}

# the value of a string field in the line of JSON
field() { printf '%s\n' "$line" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

# shellcheck disable=SC2086  # STREAMER may hold several words
${STREAMER:-streamer} subscribe --connect "$endpoint" --topic keyword. --topic sound. --json ${2:+--count "$2"} |
while read -r line; do
    case $(field kind).$(field phase) in
        keyword.hit) echo "$(field stream): somebody said $(field label)" ;;
        sound.start) echo "$(field stream): $(field label) begins" ;;
        sound.end)   echo "$(field stream): $(field label) ends" ;;
    esac
done
