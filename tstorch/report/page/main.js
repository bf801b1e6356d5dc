// The page: what a trace holds, drawn once. All figures are the report's own (docs/report.md).

const data = JSON.parse(document.getElementById("data").textContent);
const { report } = data;
const names = Object.fromEntries(report.nodes.map((node) => [node.id, node.module ? `${node.id} (${node.module})` : node.id]));
const named = (ids) => ids.map((id) => names[id] ?? id);
const dispatches = report.dispatch_table;
const gpu = total(dispatches.map((row) => row.us));
const show = (id, text) => { document.getElementById(id).textContent = text; };

function drawHead() {
  const { latency_ms: latency, memory, adapter, timing } = report;
  const dims = Object.entries(report.dims).map(([name, size]) => `${name}=${size}`).join(", ");
  show("model", report.model.path + (dims ? ` (${dims})` : ""));
  show("status", report.verdict.status);
  document.getElementById("status").classList.add(report.verdict.status);
  show("machine", `${adapter.name} (${adapter.backend}, ${adapter.driver || "driver not named"}); compiled for ${report.target.id}; ${data.words.timing}`);
  const cards = [
    [timeText(1e3 * latency.median), `latency, median of ${latency.runs} runs`],
    [timeText(gpu), "of it on the GPU"],
    [bytesText(memory.requested), `requested, ${bytesText(memory.weights)} are weights`],
    [report.dispatches.toLocaleString("en-US"), "GPU dispatches"],
    [report.check ? (report.check.outputs.every((row) => row.ok) ? "right" : "WRONG") : "-", report.check ? "outputs, compared with another implementation" : "outputs not checked (--check does)"],
    [timing.agreement === null || timing.agreement === undefined ? "-" : `${timing.agreement.toFixed(0)} %`, "agreement of the times"],
  ];
  document.getElementById("cards").append(...cards.map(([figure, text]) => {
    const card = element("div", "", "card");
    card.append(element("b", figure), element("span", text));
    return card;
  }));
  document.getElementById("warnings").append(...report.unfit.map((text) => element("p", `Unfit for comparison: ${text}`, "warning")));
  show("foot", `${report.schema}, fingerprint ${report.fingerprint.slice(0, 16)}; charts by Apache ECharts ${echarts.version} (Apache-2.0)`);
}

function drawVerdict() {
  const here = { class: "this machine", status: report.verdict.status, name: report.adapter.name, text: data.words.here };
  drawTable("verdict-table", [
    { name: "where", text: (row) => row.class },
    { name: "verdict", text: (row) => row.status, classes: (row) => row.status },
    { name: "device", wide: true, text: (row) => row.name },
    { name: "why", wide: true, text: (row) => row.text },
  ], [here, ...report.classes.map((fit, at) => ({ ...fit, text: data.words.classes[at] }))]);
}

function drawParts() {
  const { whole, ...parts } = report.parts_us;
  if (whole === null) replaceByText("parts-chart", "untimed: this adapter's clock gave no parts");
  else drawWaterfall("parts-chart", Object.entries(parts).filter(([, us]) => us).map(([name, us]) => [name, us, PARTS[name] ?? PALETTE[0]]), "whole", whole);
  if (data.runs_ms.length) drawRuns("runs-chart", data.runs_ms, report.spread_ms.median, report.spread_ms.outliers.map((row) => row.run));
  else replaceByText("runs-chart", "no plain runs in this trace");
  const { total: cold, ...stages } = report.cold_ms;
  drawWaterfall("cold-chart", Object.entries(stages).map(([name, ms], at) => [name.replace("_", " "), 1e3 * ms, PALETTE[at % PALETTE.length]]), "total", 1e3 * cold);
}

// Host parts end to end, and on the GPU's track its dispatches, from where its part begins.
function slicesOfARun() {
  const kinds = [...new Set(dispatches.map((row) => row.kernel))], slices = [];
  const { whole, ...parts } = report.parts_us;
  let begin = 0, launched = 0;
  for (const [name, us] of Object.entries(parts)) {
    if (name === "gpu") launched = begin;
    if (!(us > 0)) continue;
    slices.push({ track: 0, begin, us, name, color: PARTS[name] ?? PALETTE[0], lines: [name, timeText(us), shareText(us, whole)] });
    begin += us;
  }
  for (const [at, row] of dispatches.entries()) {
    const lines = [`${row.id}: ${row.label || row.kernel}`, `${timeText(row.us)}, ${shareText(row.us, gpu)} of the GPU's`, `kernel ${row.kernel}, grid ${row.grid.join(" x ")}`,
      `${bytesText(data.work[at][0])}, ${countText(data.work[at][1], "FLOP")}`, few(named([...new Set(row.nodes.map((node) => node.id))]), 4)];
    slices.push({ track: 1, begin: launched, us: row.us, name: row.label || row.kernel, color: PALETTE[kinds.indexOf(row.kernel) % PALETTE.length], lines });
    launched += row.us;
  }
  return slices;
}

function drawRun() {
  if (gpu === null) return replaceByText("timeline-chart", "untimed: this adapter gives no times of single dispatches");
  const between = report.timing.residual_us;
  show("timeline-note", `${dispatches.length.toLocaleString("en-US")} dispatches, ${timeText(gpu)}` + (between >= 1 ? `, and ${timeText(between)} between them, left out here` : ""));
  drawTimeline("timeline-chart", ["host", "GPU"], slicesOfARun());
}

const kernelLines = (row, whole) => [
  `${row.name}: ${row.label}`, `${timeText(row.us)} in ${row.dispatches} dispatches, ${shareText(row.us, whole)} of the GPU's`,
  `${bytesText(row.bytes)}, ${countText(row.flops, "FLOP")}`, row.bound && `${row.bound}-bound, ${shareText(row.share_of_ceiling)} of its ceiling`, few(named(row.nodes), 3),
];

function drawKernels() {
  const { kernels, ceilings } = report, known = ceilings?.copy_gb_s && ceilings?.fma_gflop_s;
  const dots = kernels.filter((row) => row.us && row.flops && row.bytes).map((row) => [row.flops / row.bytes, row.flops / row.us / 1e3, row.us, row]);
  if (!known || !dots.length) replaceByText("roof-chart", known ? "no kernel here is timed and computes" : "the ceilings of this adapter were not measured");
  else {
    const left = kernels.length - dots.length, moves = left ? `; ${left} kernels compute nothing and stand in the table only` : "";
    show("roof-note", `ceilings: ${threeDigits(ceilings.copy_gb_s)} GB/s, ${threeDigits(ceilings.fma_gflop_s)} GFLOP/s, measured on this adapter; dashed: copies of the working set that it is fastest at${moves}`);
    const cached = Math.max(ceilings.copy_gb_s, ...(ceilings.copy ?? []).map((row) => row.gb_s));
    drawRoofline("roof-chart", dots, ceilings.fma_gflop_s, [ceilings.copy_gb_s, cached], gpu);
  }
  drawTable("kernel-table", [
    { name: "time", number: true, text: (row) => timeText(row.us), value: (row) => row.us, share: (row) => row.us / gpu },
    { name: "of gpu", number: true, text: (row) => shareText(row.us, gpu) },
    { name: "x", number: true, text: (row) => String(row.dispatches), value: (row) => row.dispatches },
    { name: "bytes", number: true, text: (row) => bytesText(row.bytes), value: (row) => row.bytes },
    { name: "work", number: true, text: (row) => countText(row.flops, "FLOP"), value: (row) => row.flops },
    { name: "bound", text: (row) => row.bound ?? "-", value: (row) => row.bound },
    { name: "of its ceiling", number: true, text: (row) => shareText(row.share_of_ceiling), value: (row) => row.share_of_ceiling, share: (row) => row.share_of_ceiling },
    { name: "kernel", wide: true, text: (row) => `${row.label} (${row.name})` },
    { name: "nodes", wide: true, text: (row) => few(named(row.nodes), 1), all: (row) => named(row.nodes).join("\n") },
  ], kernels, { search: true });
}

const tensorsAt = (moment) => moment.tensors.map((at) => data.tensors[at]).sort((a, b) => b.bytes - a.bytes);
const momentLines = (moment) => [
  `dispatch ${moment.dispatch}: ${bytesText(moment.live_bytes)} alive`, ...tensorsAt(moment).slice(0, 6).map((tensor) => `${bytesText(tensor.bytes)}  ${tensor.name}`),
  moment.tensors.length > 6 && `and ${moment.tensors.length - 6} more`,
];

function drawMemoryPart() {
  const { memory } = report, { moments } = data;
  const kinds = Object.entries(memory.requested_by ?? {}).filter(([, size]) => size).sort((a, b) => b[1] - a[1]);
  show("memory-note", `requested ${bytesText(memory.requested)}; reserved ${bytesText(memory.reserved)}: ${memory.reserved_source}`);
  drawTable("category-table", [
    { name: "bytes", number: true, text: (row) => bytesText(row[1]), value: (row) => row[1], share: (row) => row[1] / memory.requested },
    { name: "for", text: (row) => row[0] },
  ], kinds);
  if (!moments.length) return replaceByText("memory-chart", "this program keeps no activations");
  const peak = moments.reduce((most, moment) => (moment.live_bytes > most.live_bytes ? moment : most));
  drawMemory("memory-chart", moments, peak, [[peak.live_bytes, `peak ${bytesText(peak.live_bytes)}`, ALARM], [memory.arena_peak, `arenas ${bytesText(memory.arena_peak)}`, QUIET]], alive);
  alive(peak);

  function alive(moment) {
    show("alive-title", `Alive at dispatch ${moment.dispatch}${moment === peak ? ", the peak" : ""}: ${bytesText(moment.live_bytes)}`);
    drawTable("alive-table", [
      { name: "bytes", number: true, text: (row) => bytesText(row.bytes), value: (row) => row.bytes, share: (row) => row.bytes / moment.live_bytes },
      { name: "tensor", wide: true, text: (row) => row.name },
    ], tensorsAt(moment));
  }
}

function drawFusion() {
  const { done, missed } = report.fusion;
  const time = { name: "time", number: true, text: (row) => timeText(row.us), value: (row) => row.us, share: (row) => row.us / gpu };
  drawTable("done-table", [
    time,
    { name: "x", number: true, text: (row) => String(row.occurrences), value: (row) => row.occurrences },
    { name: "what", wide: true, text: (row) => row.label },
    { name: "became", wide: true, text: (row) => few(row.as, 2), all: (row) => row.as.join("\n") },
    { name: "for example", wide: true, text: (row) => few(named(row.nodes[0]), 3) },
  ], done);
  drawTable("missed-table", [
    time,
    { name: "id", text: (row) => row.id, value: (row) => row.id },
    { name: "why", wide: true, text: (row) => row.reason },
    { name: "nodes", wide: true, text: (row) => few(named(row.nodes), 2), all: (row) => named(row.nodes).join("\n") },
    { name: "what would help", wide: true, text: (row) => row.suggest },
  ], missed, { search: true });
}

function drawNodes() {
  drawTable("node-table", [
    { name: "time", number: true, text: (row) => (row.where === "run" ? timeText(row.us) : row.where), value: (row) => row.us, share: (row) => row.us / gpu },
    { name: "node", wide: true, text: (row) => row.id },
    { name: "op", text: (row) => row.op_type, value: (row) => row.op_type },
    { name: "module", wide: true, text: (row) => row.module },
    { name: "where else", wide: true, text: (row) => row.reason },
  ], report.nodes, { search: true });
}

drawHead();
drawVerdict();
drawParts();
drawRun();
drawKernels();
if (data.modules.us) drawModules("module-chart", data.modules);
else replaceByText("module-chart", "untimed: this adapter gives no times of single dispatches");
drawMemoryPart();
drawFusion();
drawNodes();
