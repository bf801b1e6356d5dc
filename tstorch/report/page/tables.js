// Tables that sort by a click on a head, and show the rest of their rows, or those that hold a word, when asked.

const ROWS = 15;

function element(name, text = "", classes = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = classes;
  return made;
}

// A column: name, text(row), and value(row) to sort by; `share(row)` from 0 to 1 paints a bar behind it, `wide` lets
// its lines break, `all(row)` is shown while the pointer rests on it.
function drawTable(place, columns, rows, { search = false } = {}) {
  const host = document.getElementById(place);
  host.replaceChildren();
  if (!rows.length) return host.append(element("p", "none", "quiet"));
  const state = { rows, limit: ROWS, word: "" };
  const scroll = element("div", "", "scroll"), table = element("table"), tools = element("div", "", "tools");
  const head = table.createTHead().insertRow(), body = table.createTBody();
  const more = element("button");
  more.onclick = () => { state.limit = Infinity; fill(); };
  for (const column of columns) head.append(headCell(column, () => { state.rows = sorted(state.rows, column); fill(); }));
  if (search) tools.append(searchField((word) => { state.word = word; fill(); }));
  tools.append(more);
  scroll.append(table);
  host.append(scroll, tools);
  fill();

  function fill() {
    const found = state.word ? state.rows.filter((row) => columns.some((c) => c.text(row).toLowerCase().includes(state.word))) : state.rows;
    body.replaceChildren(...found.slice(0, state.limit).map((row) => bodyRow(columns, row)));
    more.textContent = `all ${found.length.toLocaleString("en-US")}`;
    more.hidden = found.length <= state.limit;
    tools.hidden = more.hidden && !search;
  }
}

function headCell(column, sort) {
  const cell = element("th", column.name, column.value ? "sorts" : "");
  if (column.number) cell.classList.add("number");
  if (column.value) cell.onclick = sort;
  return cell;
}

function searchField(changed) {
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "filter by any word";
  field.oninput = () => changed(field.value.trim().toLowerCase());
  return field;
}

function bodyRow(columns, row) {
  const line = document.createElement("tr");
  for (const column of columns) {
    const cell = element("td", column.text(row), `${column.number ? "number" : column.wide ? "wide" : ""} ${column.classes?.(row) ?? ""}`);
    if (column.all) cell.title = column.all(row);
    const share = column.share?.(row);
    if (share > 0) {
      cell.classList.add("barred");
      cell.style.setProperty("--share", Math.min(share, 1));
    }
    line.append(cell);
  }
  return line;
}

// The largest first; what is not known last; a second click turns it round.
function sorted(rows, column) {
  const rank = (row) => column.value(row) ?? -Infinity;
  const down = [...rows].sort((a, b) => (rank(a) < rank(b) ? 1 : rank(a) > rank(b) ? -1 : 0));
  return down.every((row, at) => row === rows[at]) ? down.reverse() : down;
}
