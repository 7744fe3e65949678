// Before the first paint: the reader's own choice, else the system's.
(() => {
  let own = null;
  try { own = localStorage.getItem('theme'); } catch { /* a private window */ }
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = own || (dark ? 'dark' : 'light');
})();
