#!/usr/bin/env bash
# Makes an hour of a call on two channels of 8 kHz A-law: prompts in turn with half a second between them, over line noise.
#
#   shared/audio/tools/hour.sh FILE      leaves FILE alone where it exists
#
# Needs sox, and the prompts of the Debian package asterisk-core-sounds-en-wav.
set -euo pipefail

out=${1:?usage: hour.sh FILE}
[ ! -e "$out" ] || exit 0
prompts=/usr/share/asterisk/sounds/en_US_f_Allison
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sox -R -D -n -r 8000 -c 1 -b 16 "$scratch/gap.wav" trim 0 0.5
agent=() caller=() who=0
for prompt in $(find "$prompts" -maxdepth 1 -name '*.wav' -size +16k -size -120k | sort | awk 'NR % 4 == 0'); do
    still="$scratch/still-$who.wav"
    sox -R -D "$prompt" "$still" vol 0
    if [ $((who % 2)) = 0 ]; then agent+=("$prompt"); caller+=("$still"); else agent+=("$still"); caller+=("$prompt"); fi
    agent+=("$scratch/gap.wav"); caller+=("$scratch/gap.wav")
    who=$((who + 1))
done
sox -R -D "${agent[@]}" "$scratch/agent.wav" repeat 100 trim 0 3600
sox -R -D "${caller[@]}" "$scratch/caller.wav" repeat 100 trim 0 3600
sox -R -D -M "$scratch/agent.wav" "$scratch/caller.wav" "$scratch/clean.wav"
sox -R -D "$scratch/clean.wav" "$scratch/noise.wav" synth pinknoise pinknoise vol 0.003
sox -R -D -m -v 1 "$scratch/clean.wav" -v 1 "$scratch/noise.wav" -e a-law "$out"
