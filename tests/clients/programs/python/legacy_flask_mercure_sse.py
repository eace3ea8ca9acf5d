"""Calls the methods of flask-mercure-sse as a Flask application would."""

import os
import sys

from flask import Flask, make_response
from flask_mercure_sse import MercureSSE

from calls import answer_calls

app = Flask(__name__)
# The library signs the tokens of publishers and subscribers with this key.
app.config["SECRET_KEY"] = os.environ["HUB_SECRET"]
mercure = MercureSSE(app, hub_url=sys.argv[1])


def set_authz_cookie(**given):
    return mercure.set_authz_cookie(make_response(), **given).headers["Set-Cookie"]


def find_method(name):
    return set_authz_cookie if name == "set_authz_cookie" else getattr(mercure, name)


with app.test_request_context():
    answer_calls(find_method)
