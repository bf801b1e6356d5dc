// What all charts share: colours of the page's own theme, tooltips of plain text, resizing.

const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const INK = dark ? "#e6eaf0" : "#1c2430", QUIET = dark ? "#98a2b3" : "#667085", LINE = dark ? "#2b3340" : "#e3e7ee";
const ACCENT = dark ? "#5cc0d3" : "#1f7a8c", ALARM = dark ? "#ef7d74" : "#c2452d";
const PALETTE = ["#1f7a8c", "#e0a458", "#7b6fc4", "#2a9d6f", "#d1605e", "#4a90d9", "#a0793d", "#b65fa8", "#6b8e23", "#5f7d95"];
const PARTS = {
  handoff: "#8d99ae", upload: "#4a90d9", encode: "#7b6fc4", submit: "#b65fa8", launch: "#e0a458", gpu: "#1f7a8c",
  sync: "#d1605e", readback: "#457b9d", unattributed: "#b0b7c3",
};

// Every chart on the page by the id of its place: tests look at what they show.
const charts = {};

function drawChart(place, option) {
  const chart = echarts.init(document.getElementById(place), null, { renderer: "canvas" });
  chart.setOption({ animation: false, textStyle: { fontFamily: "inherit", color: INK }, ...option });
  new ResizeObserver(() => chart.resize()).observe(chart.getDom());
  return (charts[place] = chart);
}

function replaceByText(place, text) {
  const host = document.getElementById(place);
  host.className = "quiet";
  host.textContent = text;
}

// A tooltip of lines; the first is its title. Names come from the model, so they are text, never markup.
const tooltip = (lines) => ({
  confine: true,
  backgroundColor: dark ? "#232b36" : "#ffffff",
  borderColor: LINE,
  textStyle: { color: INK, fontSize: 12.5 },
  formatter: (item) => {
    const [title, ...rest] = lines(item).filter((line) => line).map((line) => echarts.format.encodeHTML(line));
    return `<b>${title}</b>${rest.map((line) => `<br>${line}`).join("")}`;
  },
});

const axis = (more) => ({
  axisLine: { lineStyle: { color: LINE } },
  axisTick: { show: false },
  axisLabel: { color: QUIET, fontSize: 12, ...more.axisLabel },
  splitLine: { show: more.grid ?? true, lineStyle: { color: LINE } },
  nameTextStyle: { color: QUIET },
  ...Object.fromEntries(Object.entries(more).filter(([key]) => !["axisLabel", "grid"].includes(key))),
});

const marked = (lines) => ({
  silent: true,
  symbol: "none",
  label: { color: QUIET, formatter: (item) => item.name },
  data: lines.filter(([value]) => value).map(([value, name, color], at) => ({
    yAxis: value, name, lineStyle: { color, type: "dashed" }, label: { position: at % 2 ? "insideStartTop" : "insideEndTop" },
  })),
});

// Bars that begin where the one above ends, and a last one for the whole. `rows` are [name, microseconds, colour].
function drawWaterfall(place, rows, wholeName, whole) {
  let begin = 0;
  const bars = rows.map(([name, us, color]) => {
    const start = us < 0 ? begin + us : begin;
    begin += us;
    return { name, us, start, color };
  });
  bars.push({ name: wholeName, us: whole, start: 0, color: INK });
  const label = { show: true, position: "right", color: INK, fontSize: 12 };
  const text = (bar) => `${timeText(bar.us)}   ${shareText(bar.us, whole)}`;
  drawChart(place, {
    grid: { left: 96, right: 132, top: 6, bottom: 24 },
    tooltip: { trigger: "item", ...tooltip((item) => [bars[item.dataIndex].name, text(bars[item.dataIndex])]) },
    xAxis: axis({ type: "value", min: Math.min(0, ...bars.map((b) => b.start)), max: "dataMax", axisLabel: { formatter: axisTime, hideOverlap: true } }),
    yAxis: axis({ type: "category", inverse: true, data: bars.map((bar) => bar.name), axisLabel: { color: INK } }),
    series: [
      { type: "bar", stack: "at", silent: true, itemStyle: { color: "transparent" }, data: bars.map((bar) => bar.start) },
      {
        type: "bar", stack: "at", barCategoryGap: "28%", barMinHeight: 2, label: { ...label, formatter: (item) => text(bars[item.dataIndex]) },
        data: bars.map((bar) => ({ value: Math.abs(bar.us), itemStyle: { color: bar.color, borderRadius: 3 } })),
      },
    ],
  });
}

const axisTime = (us) => (us === 0 ? "0" : timeText(us));

// Runs in their order, with the median; `outliers` are numbers of runs.
function drawRuns(place, runs, median, outliers) {
  const far = new Set(outliers);
  drawChart(place, {
    grid: { left: 64, right: 16, top: 16, bottom: 34 },
    tooltip: tooltip((item) => [`run ${item.value[0] + 1}`, timeText(1e3 * item.value[1])]),
    xAxis: axis({ type: "value", name: "run", nameLocation: "middle", nameGap: 20, grid: false, max: "dataMax", axisLabel: { formatter: (n) => n + 1 } }),
    yAxis: axis({ type: "value", scale: true, axisLabel: { formatter: (ms) => axisTime(1e3 * ms) } }),
    series: [{
      type: "scatter", symbolSize: 6, large: runs.length > 3000,
      data: runs.map((ms, run) => ({ value: [run, ms], itemStyle: { color: far.has(run) ? ALARM : ACCENT } })),
      markLine: marked([[median, `median ${timeText(1e3 * median)}`, QUIET]]),
    }],
  });
}

// Slices on tracks: `slices` are {track, begin, us, name, color, lines}. Zoom by wheel and slider.
function drawTimeline(place, tracks, slices) {
  const one = (params, api) => {
    const [left, y] = api.coord([api.value(1), api.value(0)]), [right] = api.coord([api.value(2), api.value(0)]);
    const height = api.size([0, 1])[1] * 0.62, area = params.coordSys;
    const whole = { x: left, y: y - height / 2, width: Math.max(right - left, 0.5), height };
    const shape = echarts.graphic.clipRectByRect(whole, area);
    if (!shape) return;
    const slice = slices[params.dataIndex], rect = { type: "rect", shape: { ...shape, r: Math.min(2, shape.width / 4) }, style: { fill: slice.color } };
    if (shape.width > 46) {
      rect.textContent = { style: { text: slice.name, fill: "#fff", fontSize: 11.5, width: shape.width - 8, overflow: "truncate" } };
      rect.textConfig = { position: "inside" };
    }
    return rect;
  };
  drawChart(place, {
    grid: { left: 64, right: 20, top: 8, bottom: 74 },
    tooltip: tooltip((item) => slices[item.dataIndex].lines),
    dataZoom: [
      { type: "inside", filterMode: "weakFilter", minSpan: 0.001 },
      { type: "slider", filterMode: "weakFilter", height: 22, bottom: 12, minSpan: 0.001, brushSelect: false, labelFormatter: axisTime },
    ],
    xAxis: axis({ type: "value", min: 0, max: "dataMax", axisLabel: { formatter: axisTime, hideOverlap: true } }),
    yAxis: axis({ type: "category", inverse: true, data: tracks, grid: false, axisLabel: { color: INK } }),
    series: [{
      type: "custom", renderItem: one, encode: { x: [1, 2], y: 0 }, clip: true,
      data: slices.map((slice) => [slice.track, slice.begin, slice.begin + slice.us]),
    }],
  });
}

// Kernels as [operations a byte, GFLOP/s, microseconds, row], under the roofs of memory and of its caches, in GB/s.
function drawRoofline(place, dots, most, bandwidths, whole) {
  const xs = dots.map((dot) => dot[0]), low = Math.min(...xs, 0.1) / 2, high = Math.max(...xs, 100) * 2;
  const steps = Array.from({ length: 65 }, (_, at) => low * (high / low) ** (at / 64));
  drawChart(place, {
    grid: { left: 84, right: 24, top: 28, bottom: 46 },
    tooltip: tooltip((item) => kernelLines(dots[item.dataIndex][3], whole)),
    xAxis: axis({ type: "log", min: low, max: high, name: "operations a byte", nameLocation: "middle", nameGap: 26, axisLabel: { formatter: logText, showMinLabel: false, showMaxLabel: false } }),
    yAxis: axis({ type: "log", name: "GFLOP/s", axisLabel: { formatter: logText } }),
    series: [
      ...bandwidths.map((rate, at) => ({
        type: "line", data: steps.map((x) => [x, Math.min(most, x * rate)]), showSymbol: false, silent: true,
        lineStyle: { color: QUIET, width: at ? 1 : 2, type: at ? "dashed" : "solid" },
      })),
      {
        type: "scatter", data: dots.map((dot) => dot.slice(0, 3)), itemStyle: { color: ACCENT, opacity: 0.65, borderColor: INK, borderWidth: 0.5 },
        symbolSize: (dot) => 7 + 46 * Math.sqrt(dot[2] / whole),
      },
    ],
  });
}

const logText = (value) => (value >= 1 ? value.toLocaleString("en-US") : String(+value.toPrecision(1)));

// Live bytes in the program's order, the peak line, and `picked(moment)` on a click.
function drawMemory(place, moments, peak, lines, picked) {
  const at = moments.indexOf(peak), most = Math.max(...lines.map(([value]) => value ?? 0)) * 1.08;
  const chart = drawChart(place, {
    grid: { left: 76, right: 20, top: 20, bottom: 74 },
    tooltip: { trigger: "axis", ...tooltip((items) => momentLines(moments[items[0].dataIndex])) },
    dataZoom: [{ type: "inside" }, { type: "slider", height: 22, bottom: 12, brushSelect: false, showDataShadow: false }],
    xAxis: axis({ type: "category", data: moments.map((moment) => moment.dispatch), name: "dispatch", nameLocation: "middle", nameGap: 22, grid: false }),
    yAxis: axis({ type: "value", max: most, interval: 2 ** Math.round(Math.log2(most / 5)), axisLabel: { formatter: (size) => (size ? bytesText(Math.round(size)) : "0"), showMaxLabel: false } }),
    series: [{
      type: "line", step: "middle", showSymbol: false, lineStyle: { color: ACCENT, width: 1.5 }, areaStyle: { color: ACCENT, opacity: 0.22 },
      data: moments.map((moment) => moment.live_bytes), markLine: marked(lines),
      markPoint: { symbol: "circle", symbolSize: 9, itemStyle: { color: ALARM }, label: { show: false }, data: [{ coord: [at, peak.live_bytes] }] },
    }],
  });
  chart.getZr().on("click", (event) => {
    const index = chart.convertFromPixel({ gridIndex: 0 }, [event.offsetX, event.offsetY])?.[0];
    if (moments[index]) picked(moments[index]);
  });
}

// A scope that holds nothing but another one is told with it, as one.
const joined = (scope) => {
  const [only] = scope.inner;
  return scope.inner.length === 1 && !scope.own_us ? joined({ ...only, name: `${scope.name}.${only.name}` }) : scope;
};

function drawModules(place, root) {
  const inside = (scope) => {
    const own = scope.own_us > 0 && scope.inner.length ? [{ name: "(its own nodes)", value: scope.own_us }] : [];
    return [...scope.inner.filter((inner) => inner.us > 0).map(node), ...own];
  };
  const node = (given) => {
    const scope = joined(given), children = inside(scope);
    return { name: scope.name, value: scope.us, ...(children.length && { children }) };
  };
  drawChart(place, {
    tooltip: tooltip((item) => [item.treePathInfo.slice(1).map((step) => step.name).join(" / ") || item.name, timeText(item.value), shareText(item.value, root.us)]),
    series: [{
      type: "treemap", roam: false, nodeClick: "zoomToNode", leafDepth: 3, left: 0, right: 0, top: 0, bottom: 34, name: root.name, color: PALETTE,
      itemStyle: { borderColor: dark ? "#1a2029" : "#ffffff", gapWidth: 2 }, upperLabel: { show: true, height: 20, color: INK, formatter: (item) => `${item.name}  ${timeText(item.value)}` },
      label: { formatter: (item) => `${item.name}  ${timeText(item.value)}`, fontSize: 12, overflow: "truncate" },
      levels: [{ itemStyle: { gapWidth: 3 }, upperLabel: { show: false } }, { itemStyle: { gapWidth: 1, borderWidth: 0 } }, { colorSaturation: [0.3, 0.5] }],
      breadcrumb: { itemStyle: { color: dark ? "#2b3340" : "#eef1f5", borderColor: LINE, textStyle: { color: INK } } },
      data: inside(joined(root)),
    }],
  });
}
