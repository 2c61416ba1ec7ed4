package meta

import (
	"path"
	"strconv"
	"strings"
)

// maxPatterns bounds the globs and folders of one selection: each is tried on
// every file.
const maxPatterns = 1000

// ParseSelection reads a list of files and tells for each file of info whether
// it is wanted. The list has indices and ranges as in BEP 53 (0,3-7), globs that
// match a whole path or a file's name (*.mkv, extras/*.srt) and folders with
// everything in them (extras/); "\," stands for a comma in a name. Padding files
// are never wanted. An item that matches no file is a UsageError; an empty list
// means all files.
func ParseSelection(list string, info *Info) ([]bool, error) {
	wanted := make([]bool, len(info.Files))
	if strings.TrimSpace(list) == "" {
		for i := range wanted {
			wanted[i] = !info.Files[i].Pad
		}
		return wanted, nil
	}
	// edges counts the ranges that begin less those that have ended at each
	// file, so that many long ranges cost no more than short ones.
	edges := make([]int, len(info.Files)+1)
	patterns := 0
	for _, item := range splitList(list) {
		if item == "" {
			continue
		}
		if first, last, ok := parseRange(item); ok {
			if first > last || last >= len(info.Files) {
				return nil, usagef("cannot select %s: the torrent has files 0 to %d", quoteShort(item), len(info.Files)-1)
			}
			edges[first]++
			edges[last+1]--
			continue
		}
		if patterns++; patterns > maxPatterns {
			return nil, usagef("the selection has more than %d patterns; use fewer", maxPatterns)
		}
		if err := selectPattern(item, info, wanted); err != nil {
			return nil, err
		}
	}
	open, count := 0, 0
	for i := range wanted {
		open += edges[i]
		wanted[i] = (wanted[i] || open > 0) && !info.Files[i].Pad
		if wanted[i] {
			count++
		}
	}
	if count == 0 {
		return nil, usagef("the selection %s matches no file; `causeway info` lists them", quoteShort(list))
	}
	return wanted, nil
}

// SelectOnly reads the "so" list of a magnet link (BEP 53) as other programs do: whoever
// wrote it may not have known the torrent, so indices that it does not have are passed
// over. If none is left, all files are wanted.
func SelectOnly(list string, info *Info) []bool {
	wanted := make([]bool, len(info.Files))
	edges := make([]int, len(info.Files)+1)
	for _, item := range splitList(list) {
		first, last, ok := parseRange(item)
		if last = min(last, len(info.Files)-1); ok && first <= last {
			edges[first]++
			edges[last+1]--
		}
	}
	open, some := 0, false
	for i := range wanted {
		open += edges[i]
		wanted[i] = open > 0 && !info.Files[i].Pad
		some = some || wanted[i]
	}
	if !some {
		for i := range wanted {
			wanted[i] = !info.Files[i].Pad
		}
	}
	return wanted
}

// splitList splits at commas that have no backslash before them.
func splitList(list string) []string {
	var items []string
	var item strings.Builder
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == '\\' && i+1 < len(list) && list[i+1] == ',':
			i++
			item.WriteByte(',')
		case list[i] == ',':
			items = append(items, strings.TrimSpace(item.String()))
			item.Reset()
		default:
			item.WriteByte(list[i])
		}
	}
	return append(items, strings.TrimSpace(item.String()))
}

// parseRange reads "3" or "3-7".
func parseRange(item string) (first, last int, ok bool) {
	from, to, isRange := strings.Cut(item, "-")
	if !isRange {
		to = from
	}
	if !isDigits(from) || !isDigits(to) {
		return 0, 0, false
	}
	// A number that does not fit becomes the largest that does, which is more
	// than any torrent has files.
	first, _ = strconv.Atoi(from)
	last, _ = strconv.Atoi(to)
	return first, last, true
}

func selectPattern(pattern string, info *Info, wanted []bool) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return usagef("the pattern %s in the selection is malformed: %w", quoteShort(pattern), err)
	}
	folder, isFolder := strings.CutSuffix(pattern, "/")
	depth := strings.Count(folder, "/") + 1
	found := false
	for i := range info.Files {
		file := &info.Files[i]
		if file.Pad {
			continue
		}
		var match bool
		switch {
		case isFolder:
			match = len(file.Path) > depth && matches(folder, strings.Join(file.Path[:depth], "/"))
		case depth == 1:
			match = matches(pattern, file.Path[len(file.Path)-1])
		default:
			match = len(file.Path) == depth && matches(pattern, file.DisplayPath())
		}
		if match {
			wanted[i], found = true, true
		}
	}
	if !found {
		return usagef("%s in the selection matches no file; `causeway info` lists them", quoteShort(pattern))
	}
	return nil
}

// matches compares literally too: names may contain the brackets of globs.
func matches(pattern, name string) bool {
	if pattern == name {
		return true
	}
	ok, _ := path.Match(pattern, name)
	return ok
}
