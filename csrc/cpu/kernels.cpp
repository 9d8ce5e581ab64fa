#include "kernels.h"

namespace drawgan::DRAWGAN_ISA {

void attention_read(const ReadArgs&);
void attention_read_backward(const ReadArgs&);
void attention_write(const WriteArgs&);
void attention_write_backward(const WriteArgs&);
void lstm_cell(const CellArgs&);
void lstm_cell_backward(const CellArgs&);
SavedBytes scan_saved_bytes(const ScanShape&);
void draw_scan(const ScanArgs&);
void draw_scan_backward(const ScanArgs&);

#define NAME_OF(isa) #isa
#define NAME(isa) NAME_OF(isa)
const Kernels kernels = {NAME(DRAWGAN_ISA),  attention_read,           attention_read_backward,
                         attention_write,    attention_write_backward, lstm_cell,
                         lstm_cell_backward, scan_saved_bytes,         draw_scan,
                         draw_scan_backward};

}  // namespace drawgan::DRAWGAN_ISA
