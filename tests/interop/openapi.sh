# Sourced: the published description of the API, by others' validators, and the running service by the description.

judge_openapi() {
    local document="$work/openapi.json" base
    base="$(member_of "$dev/credentials.json" baseUrl)"
    curl -sS --fail "$base/openapi.json" >"$document"
    spoil_openapi 'document.pop("info")' unfit
    spoil_openapi 'document["components"]["schemas"]["Problem"]["properties"]["correlationId"]["type"] = "integer"' other
    version="$(python_version_of openapi-spec-validator)"
    accepts openapi-spec-validator "/openapi.json" 'OK$' "$python" -m openapi_spec_validator "$document"
    refuses openapi-spec-validator "the same without info" 'info' "$python" -m openapi_spec_validator "$work/unfit.json"
    version="$(python_version_of jsonschema)"
    local judge=("$python" "$here/judges/openapi.py")
    accepts jsonschema "exchanges with a running service" '^[1-9][0-9]+ exchanges as described' \
        "${judge[@]}" "$document" "$dev/credentials.json" "$(place_of metrics)"
    refuses jsonschema "the same, with another correlationId described" 'NOT AS DESCRIBED.*correlationId' \
        "${judge[@]}" "$work/other.json" "$dev/credentials.json" "$(place_of metrics)"
}

# spoil_openapi STATEMENT NAME
spoil_openapi() {
    python3 -c "import json, sys
document = json.load(open(sys.argv[1]))
$1
json.dump(document, open(sys.argv[2], 'w'))" "$work/openapi.json" "$work/$2.json"
}
