// Stands for packages that have no use in a page.
module.exports = {}
