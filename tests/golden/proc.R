# Writes tests/golden/proc.json: what R's pROC says of tests/golden/proc.csv, and of its own aSAH data (not copied here).
#   Rscript tests/golden/proc.R        (Debian: r-cran-proc, r-cran-jsonlite)
suppressMessages(library(pROC))
figures <- function(truth, first, second) {
  a <- roc(truth, first, quiet = TRUE, direction = "<", levels = levels(factor(truth)))
  b <- roc(truth, second, quiet = TRUE, direction = "<", levels = levels(factor(truth)))
  test <- roc.test(a, b, method = "delong")
  list(auc = c(auc(a), auc(b)), variance = c(var(a), var(b)), covariance = cov(a, b),
       interval = as.numeric(test$conf.int), z = as.numeric(test$statistic), p = test$p.value)
}
own <- read.csv("tests/golden/proc.csv")
data(aSAH)
found <- list(pROC = as.character(packageVersion("pROC")),
              own = figures(own$label, own$first, own$second),
              aSAH_wfns_s100b = figures(aSAH$outcome, as.numeric(aSAH$wfns), aSAH$s100b),
              aSAH_ndka_s100b = figures(aSAH$outcome, aSAH$ndka, aSAH$s100b))
writeLines(jsonlite::toJSON(found, digits = 15, auto_unbox = TRUE, pretty = TRUE), "tests/golden/proc.json")
