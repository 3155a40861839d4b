"""Published keys as they would be if all of them had been retired an hour from now, or an hour ago.

retire.py KEYS.json after|before >RETIRED.json
"""

import datetime
import json
import sys

keys = json.load(open(sys.argv[1]))
hours = {"after": 1, "before": -1}[sys.argv[2]]
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
for key in keys["keys"]:
    key.update(state="retired", notAfter=end.strftime("%Y-%m-%dT%H:%M:%SZ"))
json.dump(keys, sys.stdout)
