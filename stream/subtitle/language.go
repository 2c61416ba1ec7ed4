package subtitle

import (
	"path"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/encoding/charmap"
)

// language is what tells one language's text from another's, once its bytes have
// been decoded by the right or the wrong encoding.
type language struct {
	names     string // as files are named: ISO 639-1, both forms of 639-2, English
	beyond    int    // how many of a thousand letters are outside ASCII
	letters   string // which, in small, the commonest first
	encodings []*charmap.Charmap
}

var (
	western  = []*charmap.Charmap{charmap.Windows1252, charmap.ISO8859_15}
	central  = []*charmap.Charmap{charmap.Windows1250, charmap.ISO8859_2}
	baltic   = []*charmap.Charmap{charmap.Windows1257}
	estonian = []*charmap.Charmap{charmap.Windows1257, charmap.Windows1252, charmap.ISO8859_15}
	turkish  = []*charmap.Charmap{charmap.Windows1254}
	vietnam  = []*charmap.Charmap{charmap.Windows1258}
	cyrillic = []*charmap.Charmap{charmap.Windows1251, charmap.KOI8U, charmap.ISO8859_5, charmap.CodePage866}
	greek    = []*charmap.Charmap{charmap.Windows1253, charmap.ISO8859_7}
	hebrew   = []*charmap.Charmap{charmap.Windows1255}
	arabic   = []*charmap.Charmap{charmap.Windows1256, charmap.ISO8859_6}
	thai     = []*charmap.Charmap{charmap.Windows874}
)

// languages are those that have subtitles in encodings of one byte a letter. Shares
// and order were counted in the translations of free programs. Where two rows
// explain a text equally well, the first wins.
var languages = []language{
	{"en eng english", 1, "£éïñç", western},
	{"fr fre fra french", 35, "éàèêçôîûùâœïëÿæ", western},
	{"de ger deu german", 18, "üäößé", western},
	{"es spa spanish", 23, "óáíéñúü", western},
	{"pt por portuguese br", 42, "ãçáéíóúêõâàôü", western},
	{"it ita italian", 8, "èàòùéì", western},
	{"nl dut nld dutch", 3, "ëéïóöüèêáä", western},
	{"sv swe swedish", 43, "äöåé", western},
	{"da dan danish", 24, "æøåé", western},
	{"no nor nb nob nn norwegian", 21, "åøæéòêô", western},
	{"fi fin finnish", 43, "äöåé", western},
	{"is ice isl icelandic", 120, "ðáíéóþúæöýÿ", western},
	{"ca cat catalan", 28, "óàéèíòçúïü·", western},
	{"et est estonian", 34, "äõüöšž", estonian},
	{"pl pol polish", 65, "łężąśóćńź", central},
	{"cs cze ces czech", 140, "íáéěřžčšýůúťóďň", central},
	{"sk slo slk slovak", 115, "áíéčšžýľúťôňóäďŕĺ", central},
	{"hu hun hungarian", 113, "áéöíőóüúű", central},
	{"ro rum ron romanian", 54, "ăîâşţ", central},
	{"sl slv slovenian", 30, "čšžć", central},
	{"hr hrv croatian bs bos bosnian sr scc srp serbian", 27, "čšžćđ", central},
	{"sq alb sqi albanian", 77, "ëç", western},
	{"lv lav latvian", 93, "āīēšļūņķžģč", baltic},
	{"lt lit lithuanian", 65, "ėšųįžąčūę", baltic},
	{"tr tur turkish az aze", 110, "ışüçğöİâîû", turkish},
	{"vi vie vietnamese", 262, "đôưáêàóơíâăúéòùãìèýĩũ\u0300\u0301\u0323\u0309\u0303", vietnam},
	{"ru rus russian", 500, "оеаинтслврмкдпуяьыгзбчйжшхюцщэфёъ", cyrillic},
	{"uk ukr ukrainian", 500, "оаинтіевслрдкумпязбьгйчжхшїюєщцфґ", cyrillic},
	{"be bel belarusian", 500, "анксірытелопувязмьдцгбшйчўэжфхюё", cyrillic},
	{"bg bul bulgarian", 500, "аеионтрсвдлкпмзъуябгчщшжйцхюфь", cyrillic},
	{"sr scc srp serbian", 500, "аеионртскјувдпмлгзбшчњцљжћђхфџ", cyrillic},
	{"mk mac mkd macedonian", 500, "аоеитнрсвкдлпмузјбгчшцњжхфќљѓџѕ", cyrillic},
	{"el gre ell greek", 500, "αοετινσρμηπκυςλίδγήέόάχωθφύβώξζψϊϋΐΰ", greek},
	{"he heb hebrew iw", 500, "יולהאתמרבשנחדעקטפכגסםןזצךץף", hebrew},
	{"ar ara arabic", 500, "الينمتوربعدهسفكقحةأجصطشىخءذإغضثزئظؤآ", arabic},
	{"fa per fas persian farsi", 500, "اینردهمتوبسشکگزلخقفچعجپحغصطآذضظئثژيك", arabic},
	{"th tha thai", 500, "านร่อกเง้มยลวดทสตะปบคหีแจพชขไใ็ัิ์ูืุำโถซผธณฟญศึ", thai},
}

// nameParts is how far from the end of a file's name its language is looked for:
// behind it may stand a word as "forced".
const nameParts = 2

// languagesOf returns what a subtitle file's name says that it is in, as words
// that may be a language: "Film.pl.forced.srt", "2_Polish.srt".
func languagesOf(name string) []string {
	base := strings.ToLower(strings.TrimSuffix(path.Base(name), path.Ext(name)))
	words := strings.FieldsFunc(base, func(r rune) bool { return !unicode.IsLetter(r) })
	return words[max(0, len(words)-nameParts):]
}

// isCalled reports whether one of the words is a name of the language.
func (l *language) isCalled(words []string) bool {
	return slices.ContainsFunc(strings.Fields(l.names), func(n string) bool { return slices.Contains(words, n) })
}
