"""lab: trains, quantizes, exports and proves, on a workstation; the only room that imports torch."""
