"use strict";
// The page's only script. All text comes from the data element and is written with textContent, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const drawer = document.getElementById("drawer");
  const drawing = document.getElementById("drawing");
  const marks = new Map([...drawing.querySelectorAll("g.node")].map((g) => [g.dataset.node, g]));
  const order = [...marks.keys()];
  let open = null;

  // --- small builders ---------------------------------------------------------------------------------------------
  const make = (tag, cls, ...inside) => {
    const element = document.createElement(tag);
    if (cls) element.className = cls;
    for (const part of inside.flat()) if (part !== null && part !== undefined && part !== "") element.append(part);
    return element;
  };
  const svg = (tag, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const points = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
  const signed = (value) => (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(3);
  const chips = (facts) => make("div", "chips", Object.entries(facts).map(([name, text]) => {
    const chip = make("span", "", make("i", "", name + " "), make("b", "", text));
    return chip;
  }));
  const part = (title, ...inside) => {
    const shown = inside.flat().filter((one) => one);
    return shown.length ? [make("h3", "", title), ...shown] : [];
  };
  const link = (id, text) => {
    const a = make("a", "", text);
    a.href = "#node-" + id;
    a.dataset.node = id;
    return a;
  };

  // --- the drawer -------------------------------------------------------------------------------------------------
  const hours = (value) => (value === 0 ? "" : value < 0.2 ? (value * 60).toFixed(1) + " min" : value.toFixed(2) + " h");
  const fact = (name, text) => (text === "" ? null : make("div", "", make("small", "", name), text));
  const figures = (node) => make("div", "facts", [
    fact("score (dev)", points(node.score)),
    node.score !== null && node.parentScore !== null ? fact("against its parent", signed(node.score - node.parentScore)) : null,
    node.reward !== null ? fact("reward", node.reward.toFixed(3)) : null,
    fact("visits", String(node.visits)),
    fact("GPU time", hours(node.gpuHours)),
    fact("CPU time", hours(node.cpuHours)),
    node.dataFrom !== null && node.dataFrom !== node.id ? fact("data of round", link(node.dataFrom, "#" + node.dataFrom)) : null,
  ]);
  const changes = (lines) => lines.length === 0 ? null : make("ul", "changes mono", lines.map((line) => {
    const cls = line.startsWith("+ ") ? "plus" : line.startsWith("- ") ? "minus" : "";
    return make("li", cls, line);
  }));
  const recipe = (lines) => lines.length === 0 ? null : make("ol", "recipe mono", lines.map((line) => make("li", "", line)));
  const paragraph = (text) => (text ? make("p", "", text) : null);

  const curve = (rows) => {
    if (rows.length < 2) return null;
    const [w, h, left, bottom] = [600, 130, 46, 20];
    const steps = rows.map((row) => row[0]);
    const losses = rows.map((row) => row[1]);
    const [s0, s1] = [Math.min(...steps), Math.max(...steps)];
    const [l0, l1] = [Math.min(...losses), Math.max(...losses)];
    const x = (s) => left + ((s - s0) / (s1 - s0 || 1)) * (w - left - 8);
    const y = (l) => 8 + (1 - (l - l0) / (l1 - l0 || 1)) * (h - bottom - 12);
    const plot = svg("svg", { class: "chart plot", viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": "Training loss" });
    for (const loss of [l0, (l0 + l1) / 2, l1]) {
      plot.append(svg("line", { class: "grid", x1: left, x2: w - 8, y1: y(loss), y2: y(loss) }));
      plot.append(svg("text", { class: "tick", x: left - 6, y: y(loss) + 4, "text-anchor": "end" }, loss.toPrecision(3)));
    }
    for (const [step, anchor] of [[s0, "start"], [s1, "end"]]) {
      plot.append(svg("text", { class: "tick", x: x(step), y: h - 4, "text-anchor": anchor }, "step " + step));
    }
    plot.append(svg("path", { d: rows.map((row, i) => (i ? "L" : "M") + x(row[0]).toFixed(1) + " " + y(row[1]).toFixed(1)).join("") }));
    return make("div", "", plot);
  };

  const jobs = (rows) => rows.length === 0 ? null : make("table", "",
    make("thead", "", make("tr", "", ["Attempt", "Job", "Host", "State", "Time", "Note"].map((name) => make("th", "", name)))),
    make("tbody", "", rows.map((job) => make("tr", "",
      make("td", "", String(job.attempt)), make("td", "mono", job.id), make("td", "mono", job.host),
      make("td", "", job.state, job.failure ? make("span", "fail", " " + job.failure) : null), make("td", "", job.time),
      make("td", "", [job.reason, job.gpus ? job.gpus + " GPU" : "", job.step ? "checkpoint at step " + job.step : "", job.message].filter(Boolean).join("; "))))));
  const log = (title, text, shown) => {
    if (!text) return null;
    const box = make("details", "", make("summary", "", title), make("pre", "", text));
    box.open = shown;
    return box;
  };

  const trial = (one, node) => {
    const kind = one.kind === "test" ? "sealed test" : one.kind === "baseline" ? "baseline" : one.label;
    const note = [
      one.replicateOf !== null ? "repeats trial " + one.replicateOf + " with seed " + one.seed : "seed " + one.seed,
      one.reusedFrom ? "result of trial " + one.reusedFrom.join(".") + ", the same experiment" : "",
    ].filter(Boolean).join("; ");
    const range = one.low === null ? "" : ` [${one.low.toFixed(3)}, ${one.high.toFixed(3)}]`;
    return make("section", "trial" + (one.trial === node.best ? " top" : ""),
      make("h4", "", "Trial " + node.id + "." + one.trial, make("span", "muted", kind), make("span", "muted small", note),
        make("span", "right", one.failure ? make("span", "fail", one.failure) : one.score === null ? make("span", "muted", one.state) : points(one.score), make("span", "muted small", range))),
      one.message ? make("p", "muted", one.message) : null,
      chips({ ...one.train, ...Object.fromEntries(Object.entries(one.mixture).map(([name, weight]) => ["mix " + name, weight])) }),
      curve(one.curve),
      Object.keys(one.facts).length ? chips(one.facts) : null,
      jobs(one.jobs),
      Object.keys(one.settings).length ? make("details", "", make("summary", "", "All settings"), chips(one.settings)) : null,
      log("End of job.err", one.stderr, one.failure !== null), log("End of job.out", one.stdout, false));
  };

  const badCase = (row) => make("dl", "case",
    make("dt", "", "prompt"), make("dd", "", row.prompt),
    make("dt", "", "answer"), make("dd", "wrong", row.answer || "(empty)"),
    make("dt", "", "wanted"), make("dd", "right", row.reference),
    make("dt", "", "score"), make("dd", "", points(row.score), row.flags.map((flag) => make("span", "fail", " " + flag))));

  const moved = (cases) => cases === null ? [] : [
    ...cases.lines.map(paragraph),
    cases.table.length === 0 ? null : make("table", "",
      make("thead", "", make("tr", "", cases.table[0].map((cell) => make("th", "", cell)))),
      make("tbody", "", cases.table.slice(1).map((row) => make("tr", "", row.map((cell) => make("td", "", cell)))))),
    ...cases.broken.map((row) => make("dl", "case",
      make("dt", "", "broken"), make("dd", "", row.row + " (" + row.group + ")"),
      make("dt", "", "before"), make("dd", "", row.before || "(empty)"),
      make("dt", "", "now"), make("dd", "wrong", row.now || "(empty)"),
      make("dt", "", "wanted"), make("dd", "right", row.wanted)))];

  const show = (id, focus) => {
    const node = data.nodes[id];
    if (!node) return;
    if (open !== null) marks.get(open)?.classList.remove("open");
    open = String(id);
    const mark = marks.get(open);
    mark?.classList.add("open");
    const button = (text, label, action) => {
      const b = make("button", "", text);
      b.type = "button";
      b.setAttribute("aria-label", label);
      b.addEventListener("click", action);
      return b;
    };
    const title = node.parent === null ? "Baseline" : "Round " + node.id;
    drawer.replaceChildren(
      make("header", "", make("h2", "", title), make("span", "pill s-" + node.state, node.state), make("span", "muted mono", node.move),
        make("span", "right", node.parent !== null ? button("↰ " + node.parent, "Go to the parent", () => show(node.parent, true)) : null,
          button("‹", "Round before", () => step(-1)), button("›", "Next round", () => step(1)), button("✕", "Close", close))),
      figures(node),
      ...part("Hypothesis", paragraph(node.hypothesis)),
      ...part("Expected effect", paragraph(node.expected)),
      ...part("Against its parent", changes(node.changes)),
      ...part("Failure", node.failure ? make("p", "", make("span", "fail", node.failure + " "), node.message) : null),
      ...part("Review", node.review.length ? make("ul", "", ...node.review.map((line) => make("li", "", line))) : null),
      ...part("Diagnosis", paragraph(node.report)),
      ...part("Bad cases by group, row by row against the parent", moved(node.cases)),
      ...part("Trials", node.trials.map((one) => trial(one, node))),
      ...part("Bad cases" + (node.badFrom === null ? "" : " of trial " + node.id + "." + node.badFrom), node.bad.map(badCase)),
      ...part("Data recipe", recipe(node.recipe)),
      ...(node.preparation ? part("Preparation of the data", jobs(node.preparation.jobs), log("End of job.err", node.preparation.stderr, false), log("End of job.out", node.preparation.stdout, false)) : []));
    drawer.hidden = false;
    drawer.scrollTop = 0;
    drawer.setAttribute("aria-label", title);
    history.replaceState(null, "", "#node-" + id);
    if (focus) drawer.focus();
  };
  const step = (by) => {
    const next = order[order.indexOf(open) + by];
    if (next !== undefined) show(next, true);
  };
  const close = () => {
    if (open === null) return;
    const mark = marks.get(open);
    mark?.classList.remove("open");
    drawer.hidden = true;
    open = null;
    history.replaceState(null, "", location.pathname);
    if (mark) point(mark);
  };

  // --- the tree: pointer, keyboard, size --------------------------------------------------------------------------
  const point = (mark) => {
    for (const other of marks.values()) other.setAttribute("tabindex", "-1");
    mark.setAttribute("tabindex", "0");
    mark.focus({ preventScroll: true });
    mark.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const place = (mark) => {
    const { e, f } = mark.transform.baseVal.consolidate().matrix;
    return [e, f];
  };
  const places = new Map([...marks].map(([id, mark]) => [id, place(mark)]));
  const neighbour = (id, key) => {
    const node = data.nodes[id];
    if (key === "ArrowLeft") return node.parent === null ? null : String(node.parent);
    const [x, y] = places.get(id);
    const near = (ids) => ids.sort((a, b) => Math.abs(places.get(a)[1] - y) - Math.abs(places.get(b)[1] - y))[0] ?? null;
    if (key === "ArrowRight") return near(order.filter((other) => String(data.nodes[other].parent) === id));
    const sign = key === "ArrowDown" ? 1 : -1;
    const same = order.filter((other) => places.get(other)[0] === x && (places.get(other)[1] - y) * sign > 0);
    return near(same) ?? near(order.filter((other) => (places.get(other)[1] - y) * sign > 0));
  };
  drawing.addEventListener("keydown", (event) => {
    const mark = event.target.closest("g.node");
    if (!mark) return;
    if (event.key.startsWith("Arrow")) {
      const next = neighbour(mark.dataset.node, event.key);
      if (next !== null) {
        point(marks.get(next));
        if (open !== null) show(next, false);
      }
      event.preventDefault();
    } else if (event.key === "Enter" || event.key === " ") {
      show(mark.dataset.node, true);
      event.preventDefault();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    if (event.key === "Escape") close();
    else if (event.key === "b" && data.best !== null) show(data.best, true);
    else if (event.key === "t") turn();
  });
  document.addEventListener("click", (event) => {
    const hit = event.target.closest("[data-node]");
    if (hit) {
      show(hit.dataset.node, false);
      event.preventDefault();
    } else if (open !== null && !event.composedPath().includes(drawer) && event.target.closest("main")) {
      close();
    }
  });

  let scale = 1;
  const [width, height] = [drawing.width.baseVal.value, drawing.height.baseVal.value];
  const resize = (to) => {
    scale = Math.min(Math.max(to, 0.25), 2.5);
    drawing.setAttribute("width", width * scale);
    drawing.setAttribute("height", height * scale);
  };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    const by = Number(button.dataset.zoom);
    button.addEventListener("click", () => resize(by === 0 ? (drawing.parentElement.clientWidth - 2) / width : scale * 1.25 ** by));
  }

  // --- the table: sort and filter ---------------------------------------------------------------------------------
  const table = document.querySelector("table.sortable");
  if (table) {
    const body = table.tBodies[0];
    const value = (row, column) => {
      const cell = row.cells[column];
      const text = cell.dataset.sort;
      return text === undefined ? cell.textContent : text === "" ? null : Number(text);
    };
    const compare = (a, b) => (a === null ? 1 : b === null ? -1 : typeof a === "number" ? a - b : a.localeCompare(b));
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.firstElementChild.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === "descending" || (head.getAttribute("aria-sort") === "none" && !head.classList.contains("num"));
        for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => (a === null || b === null || up ? compare(a, b) : compare(b, a)));
        body.append(...rows.map(([, row]) => row));
      });
    });
    document.getElementById("filter").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of body.rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    });
  }

  // --- light and dark ---------------------------------------------------------------------------------------------
  const root = document.documentElement;
  const turn = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  };
  document.getElementById("theme").addEventListener("click", turn);

  const wanted = location.hash.match(/^#node-(\d+)$/);
  if (wanted) show(wanted[1], true);
})();
