#!/usr/bin/env bash
# Makes the demo's recordings: short support calls spoken by espeak-ng, laid out in time and encoded by sox as a
# telephone exchange would have recorded them (8 kHz, agent on the left channel, caller on the right).
#
#   demo/make-recordings.sh            writes demo/recordings/*.wav and prints each turn with its place in time
#   demo/make-recordings.sh --check    makes them in a temporary folder and compares with the committed ones
#
# The result depends on this file and on the versions of the two programs, on nothing else: no dither, fixed noise seed.
# The committed files were made with espeak-ng 1.51 and sox 14.4.2; other versions give other bytes, equally usable.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
committed="$here/recordings"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for tool in espeak-ng sox soxi; do
    command -v "$tool" >/dev/null || { echo "make-recordings: $tool is missing (packages espeak-ng and sox)" >&2; exit 1; }
done

case "${1:-}" in
    "") out=$committed ;;
    --check) out="$scratch/out" ;;
    *) echo "usage: make-recordings.sh [--check]" >&2; exit 2 ;;
esac
mkdir -p "$out"

rate=8000          # samples a second: what the telephone network carries
lead_in=2400       # samples of line noise before the first word (0.30 s)
gap=2800           # samples between two turns (0.35 s)
lead_out=3200      # samples after the last word (0.40 s)
noise_volume=0.002 # line noise on both channels, about 66 dB below full scale

# sox without dither and with its fixed random seed, so that two runs give the same bytes.
quiet_sox() { sox -R -D "$@"; }

# silence SAMPLES FILE: one channel of digital silence.
silence() { quiet_sox -r "$rate" -n -b 16 -c 1 "$2" trim 0 "${1}s"; }

# seconds SAMPLES: the same as seconds with two decimals.
seconds() { printf '%d.%02d' $(($1 / rate)) $(($1 % rate * 100 / rate)); }

# speak VOICE SPEED TEXT FILE: one turn as a telephone carries it: 300 to 3,400 Hz, same loudness, ends trimmed.
speak() {
    espeak-ng -v "$1" -s "$2" -w "$scratch/raw.wav" -- "$3"
    quiet_sox "$scratch/raw.wav" -b 16 -c 1 "$4" \
        rate -h "$rate" sinc 300-3400 \
        silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse norm -6
}

# encode CODEC LEFT RIGHT FILE: two channels, line noise on both, in a WAV file of that encoding.
encode() {
    local format
    case "$1" in
        pcm) format=(-e signed-integer -b 16) ;;
        a-law) format=(-e a-law) ;;
        u-law) format=(-e u-law) ;;
    esac
    quiet_sox -M "$2" "$3" "$scratch/clean.wav"
    quiet_sox "$scratch/clean.wav" "$scratch/noise.wav" synth pinknoise pinknoise vol "$noise_volume"
    quiet_sox -m -v 1 "$scratch/clean.wav" -v 1 "$scratch/noise.wav" "${format[@]}" "$4"
}

# call NAME CODEC AGENT-VOICE CALLER-VOICE: reads turns ("agent TEXT" or "caller TEXT") and writes NAME.wav. While one
# speaks the other channel gets silence of the same length, so the channels stay in step. In a turn "pause SECONDS" neither
# speaks.
call() {
    local name=$1 codec=$2 agent_voice=$3 caller_voice=$4
    local turn=0 at=$lead_in agent=() caller=() speaker text length

    silence "$lead_in" "$scratch/lead-in.wav"; silence "$gap" "$scratch/gap.wav"; silence "$lead_out" "$scratch/lead-out.wav"
    agent+=("$scratch/lead-in.wav"); caller+=("$scratch/lead-in.wav")
    echo "$name.wav"
    while read -r speaker text; do
        turn=$((turn + 1))
        local said="$scratch/$turn.wav" still="$scratch/$turn-silent.wav"
        case "$speaker" in
            agent) speak "$agent_voice" 175 "$text" "$said" ;;
            caller) speak "$caller_voice" 165 "$text" "$said" ;;
            pause) silence $((text * rate)) "$said"; text="($text seconds)" ;;
            *) echo "make-recordings: $name: turn $turn is neither agent nor caller nor pause" >&2; exit 1 ;;
        esac
        length=$(soxi -s "$said")
        silence "$length" "$still"
        if [ "$speaker" = agent ]; then agent+=("$said"); caller+=("$still"); else agent+=("$still"); caller+=("$said"); fi
        agent+=("$scratch/gap.wav"); caller+=("$scratch/gap.wav")
        printf '  %6s to %6s  %-6s  %s\n' "$(seconds "$at")" "$(seconds $((at + length)))" "$speaker" "$text"
        at=$((at + length + gap))
    done
    agent+=("$scratch/lead-out.wav"); caller+=("$scratch/lead-out.wav")
    quiet_sox "${agent[@]}" "$scratch/agent.wav"
    quiet_sox "${caller[@]}" "$scratch/caller.wav"
    encode "$codec" "$scratch/agent.wav" "$scratch/caller.wav" "$out/$name.wav"
}

call billing-double-charge a-law en-us+f3 en-gb+m3 <<'TURNS'
agent Thank you for calling Nowhere Energy billing, this is Grace. How can I help?
caller Hi. I was charged twice for March.
agent I see two payments of forty two pounds. One of them is ours to give back.
caller How long will that take?
agent Three working days, to the same card.
caller Great, thank you.
TURNS

call password-reset u-law en-us+m7 en-us+f2 <<'TURNS'
agent Service desk, Daniel speaking.
caller I am locked out. I typed the wrong password three times.
agent No problem. I have sent a code to your phone. Please read it to me.
caller Four, one, nine, seven.
agent That is right. You are unlocked now.
TURNS

call parcel-delayed a-law en-gb+f4 en-us+m1 <<'TURNS'
agent Good morning, parcel tracking, Priya here. May I have the order number?
caller It is five, five, zero, two. It should have come on Tuesday.
agent It is in the depot in Leeds. The van broke down, I am sorry.
caller Can it come tomorrow, after four?
agent Yes. Tomorrow, between four and six. You will get a message when the driver is near.
caller Perfect. Bye.
TURNS

call router-offline u-law en-gb-scotland+m4 en-gb+f2 <<'TURNS'
agent Technical support, this is Callum. What is happening?
caller The internet stopped an hour ago. There is a red light on the box.
agent Please take out the power cable, count to ten, and put it back.
pause 12
caller All right. It is starting. Now the light is green.
agent Good. Your line looks healthy from here as well.
TURNS

call flight-change pcm en-us+f4 en-gb-x-rp+m2 <<'TURNS'
agent Reservations, Elena speaking.
caller Can I move my Friday flight to Sunday?
agent Yes, the nine thirty has seats. There is no fee.
caller Wonderful, please book it.
TURNS

call opening-hours pcm en-gb-x-rp+m3 en-us+f5 <<'TURNS'
agent Town library, good afternoon.
caller Hello, are you open on Monday?
agent Yes, from ten until six.
caller Thanks, bye.
TURNS

# The caller speaks, and nothing of it arrives.
call clinic-one-way u-law en-gb-x-rp+f3 en-us+m5 <<'TURNS'
agent Market Street clinic, this is Ruth. How can I help you today?
pause 2
agent Hello? This is the clinic. I am afraid that I can't hear you.
pause 2
agent Perhaps there is something wrong with the line. I still don't hear anything at all.
pause 1
agent Please hang up and call us once more. We are here until five o'clock. Goodbye.
TURNS

if [ "$out" != "$committed" ]; then
    for file in "$out"/*.wav; do
        cmp "$file" "$committed/$(basename "$file")" || { echo "make-recordings: differs from the committed file" >&2; exit 1; }
    done
    echo "the committed recordings are what this script makes"
fi
