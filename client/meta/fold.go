package meta

import (
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// foldName maps names that some file system takes for the same to the same string: it
// ignores case (in full: "ß" is "ss") and Unicode composition.
func foldName(name string) string {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return foldUnicode(name)
		}
	}
	return strings.ToLower(name)
}

// foldUnicode is the canonical caseless match of Unicode (section 3.13, D145). The
// library takes microseconds for each name, and torrents have a million; so characters
// of most alphabets are looked up.
func foldUnicode(name string) string {
	table := foldTable()
	folded := make([]byte, 0, 2*len(name))
	for _, r := range name {
		switch {
		case r < foldTableSize && table[r] != "":
			folded = append(folded, table[r]...)
		case r >= 0x4e00 && r <= 0x9fff: // Chinese characters have no case and no parts
			folded = utf8.AppendRune(folded, r)
		default:
			return foldSlowly(name)
		}
	}
	return string(folded)
}

func foldSlowly(name string) string {
	return norm.NFD.String(cases.Fold().String(norm.NFD.String(name)))
}

// foldTableSize is the end of the characters that are in the table: all alphabets, and
// the syllables of Japanese.
const foldTableSize = 0x3100

// foldTable has what each character folds to, "" for those that may change places with
// their neighbours when they are put in order (combining marks).
var foldTable = sync.OnceValue(func() *[foldTableSize]string {
	table := new([foldTableSize]string)
	for r := range rune(foldTableSize) {
		if norm.NFD.PropertiesString(string(r)).CCC() == 0 {
			if folded := foldSlowly(string(r)); norm.NFD.PropertiesString(folded).CCC() == 0 {
				table[r] = folded
			}
		}
	}
	return table
})
