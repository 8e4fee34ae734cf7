//! What `up` prints when it is ready: the address, and a first function to paste.

use belljar_core::task::PythonVersion;

use crate::args::{Runtimes, UpArgs};
use crate::serve::announce;
use crate::{executors, install};

pub(super) fn print(address: &str, metrics: &[String], args: &UpArgs, requires_keys: bool) {
    announce(&format!("belljar is ready at {address}"));
    let minor = PythonVersion::default();
    let installation = install::installation(&args.executors);
    for (class, found) in installation.iter().flat_map(|all| install::executors(Runtimes::All, all))
    {
        if let Err(missing) = found {
            announce(&format!("Note: {}", executors::refused(class, &missing)));
        }
    }
    for url in metrics {
        announce(&format!("Metrics: {url}/metrics"));
    }
    if requires_keys {
        let data = args.data.dir().map(|dir| format!(" --data {}", dir.display()));
        announce(&format!(
            "Requests must show a key; the first: export BELLJAR_KEY=$(belljar key create me{})",
            data.unwrap_or_default()
        ));
    }
    // The Python of the site has everything that the snippets need.
    let python = install::python(args.executors.site.as_deref());
    let python =
        python.map_or_else(|_| format!("python{minor}"), |path| path.display().to_string());
    announce(&format!(
        r#"
A first function, to paste into another terminal:

{python} - <<'EOF'
import belljar

def double(x):
    return 2 * x

with belljar.Executor("{address}") as executor:
    print(executor.submit(double, 21).result())
EOF

The same over REST, from any Python {minor} with cloudpickle and requests:

{python} - <<'EOF'
import codecs, pickle, cloudpickle, requests

BELLJAR = "{address}"
serialize = lambda value: codecs.encode(cloudpickle.dumps(value, 4), "base64").decode()
deserialize = lambda text: pickle.loads(codecs.decode(text.encode(), "base64"))  # of native functions only: it runs code

def double(x):
    return 2 * x

function = requests.post(BELLJAR + "/register_function", json={{"name": "double", "payload": serialize(double)}}).json()
task = requests.post(BELLJAR + "/execute_function", json={{"function_id": function["function_id"], "payload": serialize(((21,), {{}}))}}).json()
result = requests.get(BELLJAR + "/result/" + task["task_id"], params={{"wait": 10}}).json()
print(result["status"], deserialize(result["result"]))
EOF

Documentation of every route: {address}/docs
Ctrl-C stops: running calls may finish. Ctrl-C twice stops at once."#
    ));
}
