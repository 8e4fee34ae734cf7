for (const snippet of document.querySelectorAll(".snippet")) {
  const code = snippet.querySelector("pre"), button = snippet.querySelector("button");
  code.textContent = code.textContent.replace("@URL@", location.origin);
  button.onclick = async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  };
}
const shown = ["accepted", "queued", "running", "completed", "failed", "cancelled"];
const counts = document.getElementById("counts"), state = document.getElementById("state");
for (const name of shown) {
  const box = document.createElement("div");
  box.className = "count";
  box.append(document.createElement("b"), document.createElement("span"));
  box.lastChild.textContent = name;
  box.firstChild.textContent = "–";
  counts.append(box);
}
async function refresh() {
  if (document.hidden) return;
  try {
    const ready = await (await fetch(new URL("../readyz", import.meta.url))).json();
    const why = ready.problems?.[0]?.detail ?? ready.detail;
    state.className = why === undefined ? "ready" : "waiting";
    state.textContent = why === undefined
      ? ready.slots === undefined ? "ready" : `ready: ${ready.workers} ${ready.workers === 1 ? "worker" : "workers"}, ${ready.busy} of ${ready.slots} slots busy, ${ready.classes.join(", ")}`
      : why;
    const reply = await fetch(new URL("../v1/audit", import.meta.url));
    document.getElementById("counts").hidden = reply.status === 401;
    const audit = await reply.json();
    shown.forEach((name, i) => counts.children[i].firstChild.textContent = (audit[name] ?? "–").toLocaleString());
  } catch { state.className = ""; state.textContent = "the gateway does not answer"; }
}
refresh();
setInterval(refresh, 2000);
