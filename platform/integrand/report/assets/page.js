"use strict";
// Sorting, filtering, legends, tabs, tooltips and the cross-hair. The page says everything without them.
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, text = "", attributes = {}) => {
    const node = tag === "line" || tag === "circle"
      ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  // theme
  const switcher = document.getElementById("theme");
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const nameTheme = () => { switcher.textContent = isDark() ? "Light" : "Dark"; };
  switcher.hidden = false;
  switcher.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("integrand-report-theme", root.dataset.theme); } catch { /* see theme.js */ }
    nameTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
  nameTheme();

  // groups hidden by legends, and by the filter
  const toggled = new Set();
  const filter = document.getElementById("filter");
  const status = document.getElementById("status");
  const matches = (label) => label.toLowerCase().includes(filter.value.trim().toLowerCase());
  const apply = () => {
    for (const node of all("[data-group]")) {
      const label = node.dataset.group;
      const unwanted = !matches(label);
      if (node instanceof SVGElement) node.classList.toggle("off", unwanted || toggled.has(label));
      else node.hidden = unwanted;
    }
    for (const button of all(".legend button")) {
      button.setAttribute("aria-pressed", String(!toggled.has(button.dataset.toggle)));
    }
    hideTip();
    for (const plot of all(".plot")) rove(plot);
  };
  filter.parentElement.hidden = false;
  filter.addEventListener("input", () => {
    apply();
    const shown = all(".family").filter((node) => !node.hidden).length;
    status.textContent = `${shown} groups shown`;
  });
  for (const button of all(".legend button")) {
    const label = button.dataset.toggle;
    const plots = () => all(".plot [data-group]", button.closest("figure"));
    const emphasise = (on) => plots().forEach((n) => n.classList.toggle("dim", on && n.dataset.group !== label));
    button.addEventListener("click", () => {
      if (!toggled.delete(label)) toggled.add(label);
      emphasise(false);
      apply();
    });
    button.addEventListener("pointerenter", () => emphasise(!toggled.has(label)));
    button.addEventListener("pointerleave", () => emphasise(false));
  }

  // tables
  const key = (row, column) => {
    const cell = row.cells[column];
    const raw = cell.dataset.value;
    if (raw === undefined || raw === "") return null;
    const number = Number(raw);
    return Number.isNaN(number) ? raw : number;
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  for (const head of all("th[aria-sort]")) {
    head.querySelector("button").addEventListener("click", () => {
      const table = head.closest("table");
      const down = head.getAttribute("aria-sort") === "ascending";
      all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [key(row, head.cellIndex), row]);
      // cells without a value stay at the end either way
      rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : (down ? -1 : 1) * compare(a, b)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  }

  // tabs: several figures in one place
  for (const tabs of all(".tabs")) {
    const buttons = all("button", tabs);
    const choose = (chosen) => buttons.forEach((button) => {
      button.setAttribute("aria-pressed", String(button === chosen));
      document.getElementById(button.getAttribute("aria-controls")).hidden = button !== chosen;
    });
    buttons.forEach((button) => button.addEventListener("click", () => choose(button)));
    choose(buttons[0]);
  }

  // tooltips
  const tip = make("div", "", { class: "tip", role: "tooltip", hidden: "" });
  document.body.append(tip);
  let shownAt = 0;
  const hideTip = () => { tip.hidden = true; all(".crosshair").forEach((g) => g.replaceChildren()); };
  const showTip = (x, y, ...content) => {
    tip.replaceChildren(...content);
    tip.hidden = false;
    shownAt = scrollY;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
    tip.style.top = `${y + 18 + height > innerHeight ? Math.max(8, y - height - 14) : y + 18}px`;
  };
  const describe = (mark, x, y) => {
    const [name, ...rest] = mark.getAttribute("aria-label").split(": ");
    showTip(x, y, make("b", name), document.createTextNode(rest.join(": ")));
  };
  const marks = (plot) => all(".mark", plot).filter((mark) => !mark.classList.contains("off"));
  // one stop for the tabulator in every figure; arrows go on from mark to mark
  const rove = (plot) => {
    const found = marks(plot);
    const current = found.find((mark) => mark === document.activeElement) || found[0];
    all(".mark", plot).forEach((mark) => mark.setAttribute("tabindex", mark === current ? "0" : "-1"));
  };
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  for (const plot of all(".scatter, .forest")) {
    rove(plot);
    plot.addEventListener("pointermove", (event) => {
      const mark = event.target.closest(".mark");
      if (mark) describe(mark, event.clientX, event.clientY); else hideTip();
    });
    plot.addEventListener("pointerleave", hideTip);
    plot.addEventListener("focusin", (event) => {
      const mark = event.target.closest(".mark");
      if (!mark) return;
      const box = mark.getBoundingClientRect();
      describe(mark, box.right, box.top);
      rove(plot);
    });
    plot.addEventListener("focusout", hideTip);
    plot.addEventListener("keydown", (event) => {
      if (!(event.key in steps)) return;
      event.preventDefault();
      const found = marks(plot);
      const next = found[(found.indexOf(document.activeElement) + steps[event.key] + found.length) % found.length];
      next?.focus();
    });
  }

  // cross-hair over curves
  for (const plot of all(".curves")) {
    const series = JSON.parse(plot.closest("figure").querySelector(".numbers").textContent);
    const scale = (text) => text.split(" ").map(Number);
    const [x0, x1, left, right] = scale(plot.dataset.x);
    const [y0, y1, bottom, top] = scale(plot.dataset.y);
    const log = "log" in plot.dataset;
    const px = (x) => left + (right - left) * (x - x0) / (x1 - x0);
    const py = (y) => bottom + (top - bottom) * (log ? Math.log(y / y0) / Math.log(y1 / y0) : (y - y0) / (y1 - y0));
    const places = [...new Set(series.flatMap((line) => line.x))].sort((a, b) => a - b);
    let at = -1;
    const show = (index, pointer) => {
      at = Math.max(0, Math.min(index, places.length - 1));
      const x = places[at];
      const found = series.filter((line) => matches(line.group) && !toggled.has(line.group))
        .map((line) => ({ line, index: line.x.indexOf(x) })).filter((item) => item.index >= 0)
        .map(({ line, index }) => ({ ...line, value: line.y[index], text: line.shown[index] }))
        .sort((a, b) => b.value - a.value);
      const hair = plot.querySelector(".crosshair");
      hair.replaceChildren(make("line", "", { x1: px(x), x2: px(x), y1: top, y2: bottom }));
      found.forEach((item) => hair.append(make("circle", "", { cx: px(x), cy: py(item.value), r: 4, class: item.colour })));
      const table = make("table");
      found.slice(0, 12).forEach((item) => {
        const row = table.insertRow();
        const name = row.insertCell();
        name.className = item.colour;
        name.append(make("i"), item.group);
        row.insertCell().textContent = item.text;
      });
      const more = found.length > 12 ? [make("div", `and ${found.length - 12} more`)] : [];
      const box = plot.getBoundingClientRect();
      const [clientX, clientY] = pointer || [box.left + px(x) * box.width / plot.viewBox.baseVal.width, box.top + 20];
      showTip(clientX, clientY, make("b", `epoch ${x}`), table, ...more);
      if (!pointer) status.textContent = `epoch ${x}: ${found.slice(0, 12).map((i) => `${i.group} ${i.text}`).join("; ")}`;
    };
    plot.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
      const x = x0 + (x1 - x0) * (at.x - left) / (right - left);
      let best = 0;
      places.forEach((place, index) => { if (Math.abs(place - x) < Math.abs(places[best] - x)) best = index; });
      show(best, [event.clientX, event.clientY]);
    });
    plot.addEventListener("pointerleave", hideTip);
    plot.addEventListener("blur", hideTip);
    plot.addEventListener("keydown", (event) => {
      if (!(event.key in steps)) return;
      event.preventDefault();
      show(at < 0 ? 0 : at + steps[event.key]);
    });
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  // the scrolling that brought a focused mark into view is reported only after its tooltip stands
  addEventListener("scroll", () => { if (Math.abs(scrollY - shownAt) > 4) hideTip(); }, { passive: true });

  // a link to a group opens it; paper shows everything
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", open);
  open();
  addEventListener("beforeprint", () => all("details.family").forEach((node) => { node.open = true; }));

  // where the reader is
  const links = new Map(all(".bar nav a").map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      const link = links.get(entry.target.id);
      link.setAttribute("aria-current", "true");
      link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 40;
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  links.forEach((_, id) => watcher.observe(document.getElementById(id)));
})();
