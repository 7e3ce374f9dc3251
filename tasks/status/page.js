"use strict";
(() => {
  const EVERY = 5000;
  const boxes = [...document.querySelectorAll("[data-live]")];
  const reveal = () => {
    const row = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = row && row.closest("details");
    if (folded && !folded.open) { folded.open = true; row.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();
  const say = (words) => boxes.forEach((box) => { box.querySelector(".state").textContent = words; });
  if (!location.protocol.startsWith("http")) {
    say("Opened as a file: traffic, latency and errors are here when the gateway serves this page.");
    return;
  }
  document.querySelectorAll(".served").forEach((each) => { each.hidden = false; });

  const parse = (text) => text.split("\n").flatMap((line) => {
    const found = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!found) return [];
    const labels = Object.fromEntries([...(found[2] || "").matchAll(/(\w+)="((?:\\.|[^"\\])*)"/g)].map((each) => [each[1], each[2]]));
    return [{ name: found[1], labels, value: Number(found[3]) }];
  });
  const total = (samples, name, wanted) => samples
    .filter((each) => each.name === name && wanted(each.labels))
    .reduce((sum, each) => sum + each.value, 0);
  const count = (value) => value.toLocaleString("en");
  const milliseconds = (value) => (value === undefined ? "–" : String(Number((1000 * value).toPrecision(2))));
  let before = null;

  const show = (samples) => {
    const at = performance.now();
    const seen = {};
    for (const box of boxes) {
      const name = box.dataset.live;
      const ours = (labels) => labels.case === name;
      const all = total(samples, "evergreen_requests_total", ours);
      const failed = total(samples, "evergreen_requests_total", (labels) => ours(labels) && Number(labels.status) >= 400);
      seen[name] = all;
      const champion = samples.filter((each) => each.name === "evergreen_model" && ours(each.labels) && each.labels.role === "champion")
        .map((each) => each.labels.version).pop();
      const quantiles = ["0.5", "0.95", "0.99"].map((share) => samples.find((each) => each.name === "evergreen_latency_quantile_seconds"
        && ours(each.labels) && each.labels.version === champion && each.labels.role === "champion" && each.labels.quantile === share)?.value);
      const put = (figure, words) => { box.querySelector(`[data-figure="${figure}"]`).textContent = words; };
      put("rate", before ? (Math.max(0, all - before.seen[name]) / ((at - before.at) / 1000)).toFixed(1) : "…");
      put("answers", `${count(total(samples, "evergreen_predictions_total", (labels) => ours(labels) && labels.role !== "shadow"))} rows`);
      put("latency", quantiles.every((each) => each === undefined) ? "–" : `${quantiles.map(milliseconds).join(" · ")} ms`);
      put("errors", all ? `${count(failed)} of ${count(all)} requests` : "no request yet");
      put("fallbacks", `${count(total(samples, "evergreen_fallback_rows_total", ours))} rows`);
      box.querySelector("dl").hidden = false;
    }
    before = { at, seen };
  };
  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/metrics", { cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) { say("This gateway asks for a key before it tells its figures."); return; }
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      show(parse(await answer.text()));
      const status = await (await fetch("/status", { cache: "no-store" })).json();
      const alarms = (status.alarms || []).map((each) => each.what);
      say(alarms.length ? `The gateway says: ${alarms.join("; ")}` : "Since the gateway's workers started; asked every 5 seconds.");
    } catch (error) {
      say(`The gateway does not answer (${error.message}).`);
    }
  };
  let drawn = null;
  const newer = async () => {
    if (document.hidden) return;
    const tag = await fetch("/", { method: "HEAD", cache: "no-store" }).then((answer) => answer.headers.get("etag"), () => null);
    if (drawn && tag && tag !== drawn) document.getElementById("newer").hidden = false;
    drawn = drawn || tag;
  };
  look();
  newer();
  setInterval(look, EVERY);
  setInterval(newer, 6 * EVERY);
})();
