"""report: the page a person reads. The verb is `clinquant.report.page.render`."""
