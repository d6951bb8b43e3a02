"use strict";
// before anything is drawn, so that a chosen theme does not flash
(() => {
  const root = document.documentElement;
  root.classList.remove("no-script");
  try {
    const chosen = localStorage.getItem("integrand-report-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch { /* a file opened from disk may have no storage */ }
})();
