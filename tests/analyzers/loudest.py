"""An analyzer for Callvine, from nothing: finds the loudest sample of each recording. docs/analyzers.md explains it."""
import array, io, json, os, sys, wave

import pika, requests

NAME, KEY = "loudest", {"X-API-Key": os.environ["CALLVINE_KEY"]}
CALLVINE = os.environ["CALLVINE_URL"].rstrip("/")


def analyse(recording):
    try:
        with wave.open(io.BytesIO(recording)) as sound:
            if sound.getsampwidth() != 2:
                return {"failed": "samples have not 16 bits"}
            samples = array.array("h", sound.readframes(sound.getnframes()))
    except (wave.Error, EOFError) as error:
        return {"failed": f"no WAV file of plain samples: {error}"}
    if sys.byteorder == "big":
        samples.byteswap()
    return {"schema": "loudest/1", "peak": max(map(abs, samples), default=0)}


def requested(channel, method, _properties, body):
    call = json.loads(body)["data"]["call_id"]
    recording = requests.get(f"{CALLVINE}/calls/{call}/recording", headers=KEY, timeout=60)
    if recording.status_code != 404:  # else the call was erased meanwhile
        recording.raise_for_status()
        answer = requests.put(f"{CALLVINE}/calls/{call}/analyses/{NAME}", json=analyse(recording.content),
                              headers=KEY, timeout=60)
        answer.raise_for_status()
    channel.basic_ack(method.delivery_tag)


channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
channel.queue_declare(NAME, durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind(NAME, "callvine.events", "analysis.requested")
channel.basic_qos(prefetch_count=1)
channel.basic_consume(NAME, requested)
print("listening", flush=True)
channel.start_consuming()
