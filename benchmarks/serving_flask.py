"""The peer of serving.py: a plain Flask app that captions one picture per request with the embedded bundle.

gunicorn --workers 2 --threads 1 serving_flask:app
"""

import os

from flask import Flask, Response, jsonify, request

from showtell import Captioner

app = Flask(__name__)
captioner = Captioner.load(os.environ.get("BUNDLE") or None, threads=int(os.environ.get("THREADS", "1")))


@app.post("/v1/captions")
def captions() -> Response:
    best = captioner.caption(request.files["image"].read())
    return jsonify(caption=best.text, probability=best.log_probability)
