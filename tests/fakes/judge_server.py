"""Servers that speak OpenAI's chat protocol: one around a real tiny model, one that misbehaves.

Command: `python -m tests.fakes.judge_server MODEL_FOLDER`; it writes its port as first line.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]
"""From a request's body to status, headers and body; it may wait."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Answer
    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        status, headers, content = type(self).answer(body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        if int(headers.get("Content-Length", len(content))) > len(content):
            self.close_connection = True  # a body that was cut off

    def log_message(self, *arguments: object) -> None:
        del arguments


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *arguments: object) -> None:
        """Clients that gave up are no error."""


@dataclass
class Running:
    """A server that runs in a thread of this process."""

    url: str
    seen: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def serve(answer: Answer) -> Iterator[Running]:
    """Serve while the context is open."""
    running = Running("")
    handler = type("Handler", (_Handler,), {"answer": staticmethod(answer), "seen": running.seen})
    server = _Server(("127.0.0.1", 0), handler)
    running.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(*tokens: tuple[str, float]) -> tuple[int, dict[str, str], bytes]:
    """Return a sound reply whose first token has these log-probabilities."""
    listed = [{"token": token, "logprob": logprob} for token, logprob in tokens]
    choice = {
        "message": {"role": "assistant", "content": tokens[0][0]},
        "logprobs": {"content": [{**listed[0], "top_logprobs": listed}]},
    }
    return 200, {}, json.dumps({"choices": [choice]}).encode()


def refusal(status: int, message: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return an error as such servers put it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps({"error": {"message": message}}).encode()


def in_turn(*answers: Any) -> Answer:
    """Answer with one after the other, the last one for ever; a callable is called."""
    left = list(answers)
    lock = threading.Lock()

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        with lock:
            found = left.pop(0) if len(left) > 1 else left[0]
        return found(body) if callable(found) else found

    return answer


def model_answer(folder: str) -> Answer:
    """Return the answers of a model: the most probable tokens after the question."""
    import torch

    from activeuf_core import pretrained

    tokenizer = pretrained.load_tokenizer(folder)
    model = pretrained.load_model("AutoModelForCausalLM", folder, "float32")
    lock = threading.Lock()

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if body["model"] != "tiny":
            return refusal(404, f"The model `{body['model']}` does not exist.")
        ids = tokenizer.encode([body["messages"]], ask=True)
        if len(ids[0]) >= pretrained.context_length(model):
            return refusal(400, f"The maximum context length is less than {len(ids[0])} tokens.")
        with lock, torch.inference_mode():
            logprobs_V = model(torch.tensor(ids)).logits[0, -1].double().log_softmax(-1)
        best = logprobs_V.topk(body.get("top_logprobs", 1))
        texts = [tokenizer.tokenizer.decode([i]) for i in best.indices.tolist()]
        return reply(*zip(texts, best.values.tolist(), strict=True))

    return answer


def main(arguments: Sequence[str]) -> None:
    """Serve a model until standard input ends."""
    with serve(model_answer(arguments[0])) as running:
        sys.stdout.write(f"{running.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
