// A table that can be sorted, and that stays quick with thousands of rows: only those in sight are drawn.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";

const WINDOWED_FROM = 80;
const ROW_PX = 32;
const BEYOND = 4;
const RESORT_MS = 3_000; // rows that change places each second cannot be read

/**
 * @param caption What the table holds; read out, not shown.
 * @param columns [{key, title, value: row => number|string|null, cell?: row => content, number?, minor?, wrap?, help?}];
 *     `minor` columns are left out where there is little width, `wrap` ones may take several lines. The first names the row.
 * @param rows Any rows.
 * @param keyOf Row => a key that stays.
 * @param sort {key, down} to begin with.
 * @param href Row => link of its first cell, if it has one.
 * @param rowClass Row => class.
 * @param empty What is shown without rows.
 */
export function Table({ caption, columns, rows, keyOf, sort, href, rowClass, empty = "There is nothing to show." }) {
  const [order, setOrder] = useState(sort ?? { key: columns[0].key, down: false });
  const sorted = useSorted(rows, columns, order, keyOf);
  const windowed = sorted.length > WINDOWED_FROM;
  const box = useRef();
  const [current, setCurrent] = useState(0);
  const [first, height] = useScroll(box, windowed);
  const from = windowed ? Math.max(0, first - BEYOND) : 0;
  const until = windowed ? Math.min(sorted.length, first + Math.ceil(height / ROW_PX) + BEYOND) : sorted.length;
  const active = Math.min(current, sorted.length - 1);
  const move = useKeys(box, sorted.length, active, setCurrent, windowed);
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  return html`<div class=${`table ${windowed ? "windowed" : ""}`} ref=${box} onKeyDown=${move} role="group" aria-label=${caption}
    tabindex=${windowed && !href ? 0 : undefined}>
    <table aria-rowcount=${windowed ? sorted.length + 1 : undefined}>
      <caption class="hidden">${caption}</caption>
      <thead><tr aria-rowindex=${windowed ? 1 : undefined}>${columns.map((column) => html`<${Head} key=${column.key}
        column=${column} order=${order} setOrder=${setOrder} />`)}</tr></thead>
      <tbody>
        ${from > 0 ? html`<tr key="\n above" class="space" aria-hidden="true"><td style=${{ height: `${from * ROW_PX}px` }} colspan=${columns.length}></td></tr>` : null}
        ${sorted.slice(from, until).map((row, i) => html`<${Row} key=${keyOf(row)} row=${row} columns=${columns} href=${href?.(row)}
          index=${windowed ? from + i : null} reachable=${!windowed || from + i === active} name=${rowClass?.(row) ?? ""} />`)}
        ${until < sorted.length ? html`<tr key="\n below" class="space" aria-hidden="true"><td style=${{ height: `${(sorted.length - until) * ROW_PX}px` }} colspan=${columns.length}></td></tr>` : null}
      </tbody>
    </table>
  </div>`;
}

function Head({ column, order, setOrder }) {
  const chosen = order.key === column.key;
  const arrow = chosen ? html`<span class="arrow" aria-hidden="true">${order.down ? "▼" : "▲"}</span>` : null;
  const turn = () => setOrder({ key: column.key, down: chosen ? !order.down : Boolean(column.number) });
  return html`<th scope="col" class=${place(column)} title=${column.help} aria-sort=${chosen ? (order.down ? "descending" : "ascending") : undefined}>
    <button type="button" onClick=${turn}>${column.number ? arrow : null}${column.title}${column.number ? null : arrow}</button>
  </th>`;
}

function Row({ row, columns, href, index, reachable, name }) {
  return html`<tr class=${name} aria-rowindex=${index === null ? undefined : index + 2} data-index=${index}>
    ${columns.map((column, i) => {
      const content = column.cell ? column.cell(row) : column.value(row);
      if (i > 0) return html`<td key=${column.key} class=${place(column)}>${content}</td>`;
      return html`<th key=${column.key} scope="row" class=${place(column)}>${href ? html`<a href=${href} tabindex=${reachable ? undefined : -1}>${content}</a>` : content}</th>`;
    })}
  </tr>`;
}

const place = (column) => ["number", "minor", "wrap"].filter((name) => column[name]).join(" ");

/** Return the rows in order; they change places at most every few seconds, unless the reader asks for another order. */
function useSorted(rows, columns, order, keyOf) {
  const last = useRef({ at_ms: 0, order: null, places: new Map() });
  return useMemo(() => {
    const now_ms = Date.now();
    const { at_ms, order: before, places } = last.current;
    if (before === order && now_ms - at_ms < RESORT_MS && places.size === rows.length) {
      const kept = new Array(rows.length);
      const known = rows.every((row) => {
        const place = places.get(keyOf(row));
        if (place !== undefined) kept[place] = row;
        return place !== undefined;
      });
      if (known) return kept;
    }
    const value = (columns.find((column) => column.key === order.key) ?? columns[0]).value;
    const valued = rows.map((row) => [value(row), row]);
    valued.sort(([a, one], [b, other]) => compare(a, b, order.down) || compare(keyOf(one), keyOf(other), false));
    const sorted = valued.map(([, row]) => row);
    last.current = { at_ms: now_ms, order, places: new Map(sorted.map((row, i) => [keyOf(row), i])) };
    return sorted;
  }, [rows, order]);
}

const WORDS = new Intl.Collator(undefined, { numeric: true });

/** What is not known comes last, whichever way. */
function compare(a, b, down) {
  const none = (value) => value === null || value === undefined || Number.isNaN(value);
  if (none(a) || none(b)) return none(a) - none(b);
  const sign = down ? -1 : 1;
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : WORDS.compare(String(a), String(b)));
}

/** Return the first row in sight and the height of the box in pixels. */
function useScroll(box, windowed) {
  const [seen, setSeen] = useState([0, 800]);
  useLayoutEffect(() => {
    const element = box.current;
    if (!windowed || !element) return undefined;
    const look = () => {
      const now = [Math.floor(element.scrollTop / ROW_PX), element.clientHeight];
      setSeen((before) => (before[0] === now[0] && before[1] === now[1] ? before : now));
    };
    look();
    const watcher = new ResizeObserver(look);
    watcher.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      watcher.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, [windowed, box.current]);
  return seen;
}

/** Return what handles keys: arrows, pages, Home and End go from row to row where not all rows are drawn. */
function useKeys(box, length, active, setCurrent, windowed) {
  const wanted = useRef(false);
  useLayoutEffect(() => {
    if (!wanted.current) return;
    const link = box.current?.querySelector(`tr[data-index="${active}"] th a`);
    if (link) {
      wanted.current = false;
      link.focus({ preventScroll: true });
    }
  });
  return (event) => {
    const element = box.current;
    const page = Math.max(1, Math.floor(element.clientHeight / ROW_PX) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -length, End: length };
    const step = steps[event.key];
    if (!windowed || step === undefined || event.target.closest("thead")) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(length - 1, active + step));
    const top = next * ROW_PX;
    if (top < element.scrollTop) element.scrollTop = top;
    const bottom = top + 2 * ROW_PX - element.clientHeight; // the head of the table covers one row
    if (bottom > element.scrollTop) element.scrollTop = bottom;
    wanted.current = true;
    setCurrent(next);
  };
}
