package web

// NewUnbuilt is New in a program that was built where there was no npm.
func NewUnbuilt(o Options) *Handler {
	h := New(o)
	h.files = readAssets(sources, sourceFolder, false)
	return h
}

// Weight is what the page loads before a player needs more, compressed, in bytes, as
// build.mjs counted it; empty if the page is not built.
func Weight() string {
	text, err := decompress(loadAssets().packed["weight.txt"])
	if err != nil {
		return ""
	}
	return string(text)
}

// SourceFile is one of the page's sources.
func SourceFile(name string) (string, error) {
	text, err := sources.ReadFile(sourceFolder + "/" + name)
	return string(text), err
}
