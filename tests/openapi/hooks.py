"""Teaches schemathesis what OpenAPI 3.1 cannot describe: bodies with a JSON object in each line, and rules for updates.

schemathesis loads this file because schemathesis.toml names it.
"""

import itertools
import json
import unicodedata

import jsonschema_rs
import schemathesis

NDJSON = "application/x-ndjson"
KEY_HEADER = "Idempotency-Key"
KEY_MEMBER = "idempotency_key"

calls = itertools.count()


@schemathesis.serializer(NDJSON)
def lines_of(_context, update):
    """The body for a generated update: its line, a blank line, a bad line, and the first line again."""
    line = json.dumps(update)
    return f"{line}\n\nnot JSON\n{line}".encode()


@schemathesis.hook
def filter_case(_context, case):
    if not is_publish(case):
        return True
    if not is_positive(case):
        # A bad line is no bad request: its error is in the response, with the status 200.
        return case.media_type != NDJSON
    return follows_the_other_rules(case)


@schemathesis.hook
def before_call(_context, case, _options):
    if is_publish(case) and case.media_type == NDJSON and case.headers:
        # The header is refused here, as its description says.
        case.headers.pop(KEY_HEADER, None)
    # Most generated keys are equal, so the server would refuse most updates because their key was used before.
    number = next(calls)
    if number % 4 == 0 or not (is_publish(case) and is_positive(case)):
        return
    if case.headers and KEY_HEADER in case.headers:
        case.headers[KEY_HEADER] = f"key-{number}"
    if update_of(case).get(KEY_MEMBER):
        case.body = {**case.body, KEY_MEMBER: f"key-{number}"}


@schemathesis.check
def each_line_has_its_answer(_context, response, case):
    if response.headers.get("content-type") != [NDJSON]:
        return
    answers = [json.loads(line) for line in response.content.splitlines()]
    components = case.operation.schema.raw_schema["components"]
    schema = jsonschema_rs.validator_for({"$ref": "#/components/schemas/BulkAnswer", "components": components})
    assert all(schema.is_valid(answer) for answer in answers), answers
    if "preference-applied" in response.headers:
        *errors, totals = answers
        assert sum(totals.values()) == 3 and totals["failed"] == len(errors), answers
        [bad_line] = [answer for answer in errors if answer["line"] == 3]
    else:
        _first, bad_line, _repeated = answers
    assert bad_line["error"]["status"] == 400, answers
    # The same exceptions as in schemathesis.toml.
    others = [answer for answer in answers if "error" in answer and answer is not bad_line]
    assert all(answer["error"]["status"] in (413, 422) for answer in others), answers


def is_publish(case):
    return case.operation.definition.raw.get("operationId") == "publish"


def is_positive(case):
    """Whether the request conforms to the document."""
    return case.meta is None or case.meta.generation.mode.is_positive


def update_of(case):
    return case.body if isinstance(case.body, dict) else {}


def follows_the_other_rules(case):
    """Whether an update that conforms to its schema also follows the rules that the schema cannot express."""
    update = update_of(case)
    has_two_keys = update.get(KEY_MEMBER) is not None and KEY_HEADER in (case.headers or {})
    # JSON Schema takes 5.0 for an integer.
    has_fraction = isinstance(update.get("retry"), float)
    text = json.dumps(update, ensure_ascii=False)
    has_format_character = any(unicodedata.category(character) == "Cf" for character in text)
    return not (has_two_keys or has_fraction or has_format_character)
